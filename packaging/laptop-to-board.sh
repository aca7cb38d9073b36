#!/usr/bin/env bash
# From a laptop to a stream on a board in ten commands: docs/tutorials/laptop-to-board.md has what to expect at each.
# Run in the repository's folder, with adcvsr installed here.
set -euo pipefail

usage() {
  cat <<'END'
usage: packaging/laptop-to-board.sh [OPTIONS] USER@BOARD

  --kind jetson|rtx     what the board is (default: jetson, JetPack 6.2 or 7.2)
  --target NAME         of `adcvsr targets`, to plan for (default: orin-nano; rtx: rtx-40)
  --model NAME|BUNDLE   the network (default: nano-camera); a bundle of yours lies under this path on both machines
  --size WxH            what the source gives (default: 640x360)
  --fps N               frames a second (default: 30)
  --source ADDRESS      what is shown in step 9 (default: a test picture)
  --from N              begin at step N: after one that failed was mended
  --dry-run             print the ten commands and run none
END
}

kind=jetson planned="" target="" model=nano-camera size=640x360 fps=30 source="" from=1 dry="" board=""
while [ $# -gt 0 ]; do
  case "$1" in
    --kind | --target | --model | --size | --fps | --source | --from)
      [ $# -ge 2 ] || { echo "error: $1 needs a value" >&2; exit 2; }
      declare "${1#--}=$2"
      shift 2
      ;;
    --dry-run) dry=yes; shift ;;
    -h | --help) usage; exit 0 ;;
    -*) echo "error: no option '$1'; --help lists them" >&2; exit 2 ;;
    *) board="$1"; shift ;;
  esac
done
[ -n "$board" ] || { usage >&2; exit 2; }
case "$kind" in
  jetson)
    backend=tensorrt extras='cpu,tensorrt' system='nvidia-jetpack python3-venv'
    packages=--system-site-packages
    ;;
  rtx) backend=tensorrt-rtx extras='cpu,rtx' system=python3-venv packages="" planned="--backend tensorrt-rtx" ;;
  *) echo "error: --kind is '$kind'; expected jetson or rtx" >&2; exit 2 ;;
esac
: "${target:=$([ "$kind" = jetson ] && echo orin-nano || echo rtx-40)}"
: "${source:=test://?size=$size&fps=$fps}"
case "$from" in [1-9] | 10) ;; *) echo "error: --from is '$from'; expected 1 to 10" >&2; exit 2 ;; esac

if [ -z "$dry" ] && [ "$from" -le 3 ]; then # steps 1 to 3 need the program and the clone here
  command -v adcvsr >/dev/null || {
    echo "error: no command 'adcvsr' here: activate the environment it is installed in, or install it" \
      "(docs/tutorials/first-file.md)" >&2
    exit 1
  }
  git cat-file -e HEAD:./packaging/laptop-to-board.sh 2>/dev/null || {
    echo "error: '$PWD' is not the folder of a clone of adcvsr: step 3 sends what 'git archive' gives." \
      "Change into the clone and run packaging/laptop-to-board.sh there" >&2
    exit 1
  }
fi

step=0
interrupted() {
  printf '\nstep %d was interrupted; to run it again and go on: --from %d\n' "$step" "$step" >&2
  exit 130
}
trap interrupted INT
run() { # WHERE (here, board, or page: on the board with its page here), COMMAND
  step=$((step + 1))
  [ "$step" -ge "$from" ] || return 0
  if [ -n "$dry" ]; then
    printf '%2d %-5s %s\n' "$step" "$1" "$2"
    return 0
  fi
  printf '\n[%d of 10, %s] %s\n' "$step" "$1" "$2" >&2
  local status=0
  case "$1" in
    here) bash -c "$2" || status=$? ;;
    board) ssh -t "$board" "$2" || status=$? ;;
    page) ssh -t -L 8080:127.0.0.1:8080 "$board" "$2" || status=$? ;; # the board's page on this machine
  esac
  if [ "$status" -ne 0 ]; then
    [ "$status" -ne 130 ] || interrupted
    if [ "$status" -eq 255 ]; then # ssh's own: the board was not reached, or the line broke
      printf "step %d: ssh did not reach the board or lost it. Does 'ssh %s true' work? Then: --from %d\n" \
        "$step" "$board" "$step" >&2
    else
      printf 'step %d ended with status %d; docs/tutorials/laptop-to-board.md says what to do at "%d.". Then: --from %d\n' \
        "$step" "$status" "$step" "$step" >&2
    fi
    exit "$status"
  fi
}

python="~/adcvsr-env/bin"
run here "adcvsr plan $model --target $target --source $size@$fps${planned:+ $planned}"
run here "adcvsr verify $model --variant fp32 --backend ort-cpu"
run here "git archive --format=tar HEAD | ssh $board 'mkdir -p adcvsr && tar -x -C adcvsr'"
run board "sudo apt-get update && sudo apt-get install -y $system"
run board "python3 -m venv${packages:+ $packages} ~/adcvsr-env"
run board "cd adcvsr && $python/pip install '.[$extras]' -c constraints.txt"
run board "$python/adcvsr doctor --wait 30 --require $backend"
run board "$python/adcvsr deploy $model --size $size --fps $fps"
run page "$python/adcvsr live --source '$source' --sink http://127.0.0.1:8080 --model $model --duration 60"
run board "$python/adcvsr report -o adcvsr-report.zip --overwrite"
if [ -z "$dry" ]; then
  echo "done; fetch the figures: scp $board:adcvsr-report.zip ." >&2
fi
