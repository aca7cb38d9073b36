#!/usr/bin/env bash
# One video over a Slurm cluster: planned here, made by as many array tasks as you like, joined after.
#
#   ./slurm.sh film.mkv film_x4.mkv /shared/film.job 64 --model nano
#
# The fourth word is the number of workers; what follows goes to `adcvsr job plan`. All paths lie on a
# file system that every node sees; where the job is there already, it goes on. Put your site's partition and account into SBATCH_PARTITION and
# SBATCH_ACCOUNT, which sbatch reads. A worker that is killed or preempted is queued again and makes
# what is open; a segment it was at is lost, nothing else.
set -euo pipefail

source=$1 output=$2 job=$3 workers=$4
shift 4
cpus=${CPUS:-4}

if [[ -f $job/plan.json ]]; then
  echo "note: '$job' holds a job: its plan says what is made, not the words given here" >&2
else
  adcvsr job plan "$source" "$output" "$job" "$@"
fi
quoted=$(printf %q "$job") # --wrap is a line that a shell reads
work=$(sbatch --parsable --job-name adcvsr-work --array="1-$workers" --cpus-per-task "$cpus" --requeue \
  --output "$job/slurm-%A-%a.log" --wrap "adcvsr job work $quoted --threads $cpus --quiet")
# afterany: what one worker could not make another one did; `join` says what is missing.
sbatch --parsable --job-name adcvsr-join --dependency "afterany:$work" --cpus-per-task 1 \
  --output "$job/slurm-join.log" --wrap "adcvsr job join $quoted"
