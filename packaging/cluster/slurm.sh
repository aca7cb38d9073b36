#!/usr/bin/env bash
# One video over a Slurm cluster: planned here, made by as many array tasks as you like, joined after.
#
#   ./slurm.sh film.mkv film_x4.mkv /shared/film.job 64 --model nano
#
# The fourth word is the number of workers; what follows goes to `adcvsr job plan`. All paths lie on a
# file system that every node sees. Put your site's partition and account into SBATCH_PARTITION and
# SBATCH_ACCOUNT, which sbatch reads. A worker that is killed or preempted is queued again and makes
# what is open; a segment it was at is lost, nothing else.
set -euo pipefail

source=$1 output=$2 job=$3 workers=$4
shift 4
cpus=${CPUS:-4}

adcvsr job plan "$source" "$output" "$job" "$@"
work=$(sbatch --parsable --job-name adcvsr-work --array="1-$workers" --cpus-per-task "$cpus" --requeue \
  --output "$job/slurm-%A-%a.log" --wrap "adcvsr job work '$job' --threads $cpus --quiet")
# afterany: what one worker could not make another one did; `join` says what is missing.
sbatch --parsable --job-name adcvsr-join --dependency "afterany:$work" --cpus-per-task 1 \
  --output "$job/slurm-join.log" --wrap "adcvsr job join '$job'"
