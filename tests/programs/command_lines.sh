# Command lines with their exit status and what they say: numbers that are none, options that contradict each other, files that
# cannot be read or written, streams that are closed, full or broken, signals. Read by examples.sh, whose functions it uses.
# shellcheck shell=sh disable=SC2154,SC2016,SC2059,SC3045  # build, check: of examples.sh; lines in quotes are for eval; ulimit -v

for program in adding_problem caption_start char_lm classify copy_memory forecast gradient_flow japanese_vowels jsb_chorales lstm_cell_by_hand \
  sentiment step_curve tape_by_hand tune word_lm your_own_op; do
  eval "$program() { \"\$build/$program\" \"\$@\"; }"
done
# The quickest runs; their files are in the current folder.
train() { char_lm train text --hidden 4 --embed 2 --batch 4 --seq 5 --quiet "$@"; }
sample() { char_lm sample small.safetensors --length 5 "$@"; }
quickstart() { char_lm quickstart tiny --hidden 2 --embed 2 --steps 1 --seconds 0 --quiet --out q.safetensors "$@"; }

# line STATUS WORDS COMMAND: a line of shell ends with this status and says these words, on stdout or stderr. Wrong use (2) has
# printed nothing on stdout.
line() {
  : >stdout
  eval "$3" >stdout 2>stderr </dev/null
  status=$?
  says() { [ "$status" = "$1" ] && { [ -z "$2" ] || cat stdout stderr | grep -qF -e "$2"; } && { [ "$1" != 2 ] || [ ! -s stdout ]; }; }
  check "$3: $1, $2" says "$1" "$2"
}
# table: a line for each line of stdin that reads STATUS WORDS | COMMAND.
table() {
  while read -r row; do
    left=${row%% | *}
    line "${left%% *}" "${left#* }" "${row#* | }"
  done
}

train --steps 2 --out small.safetensors >stdout 2>stderr

# --- every number of every program, found in its help -----------------------------------------------------------------

for command in 'char_lm train text' 'char_lm sample small.safetensors' gradient_flow lstm_cell_by_hand 'forecast waves.csv' 'tune waves.csv' \
  adding_problem caption_start classify copy_memory japanese_vowels jsb_chorales sentiment step_curve tape_by_hand word_lm your_own_op; do
  eval "$command --help" | sed -nE 's/^ *(--[a-z-]*) (UINT|FLOAT).*/\1 \2/p' >options
  while read -r option type; do
    none='-1x nan 1e999 0x10 1,5 +1'
    [ "$type" = FLOAT ] || none="$none -1 1.5 1e3 1e20 18446744073709551616"
    case $option in --lr | --clip) none="$none 1e-300 1e300" ;; esac  # 0 and infinite in float32
    taken=''
    for value in $none; do
      eval "$command $option=$value" >stdout 2>stderr </dev/null
      status=$?
      [ "$status" = 2 ] && [ ! -s stdout ] && grep -q -e "^$option: $value is not a number " stderr || taken="$taken $value"
    done
    check "$command $option: refuses what is no number in its range${taken:+, but not$taken}" test -z "$taken"
  done <options
done

# --- streams ----------------------------------------------------------------------------------------------------------

lost='what it printed could not all be written to stdout'
# streams STATUS RUN: all that can happen to the streams of a program that ends with this status if nothing does.
streams() {
  line "$1" 'result {' "$2 2>&-"
  line "$1" 'result {' "$2 <&-"
  line 1 '' "$2 >&- 2>&-"
  line 1 "$lost" "$2 >&-"
  if [ -w /dev/full ]; then
    line "$1" 'result {' "$2 2>/dev/full"
    line 1 "$lost" "$2 >/dev/full"
  fi
  mkfifo broken && { : <broken & } && eval "$2" 2>stderr >broken
  status=$?
  wait
  rm -f broken
  check "$2 | nobody: 1, $lost" grep -qF "$lost" stderr
}
streams 0 'train --steps 2 --out s.safetensors'
streams 0 sample
streams 0 quickstart
streams 0 'gradient_flow --steps 2'
streams 1 'adding_problem --steps 2 --hidden 1 --updates 1 --quiet'
streams 1 'caption_start --steps 1 --hidden 1 --updates 1'
streams 1 'copy_memory --steps 1 --hidden 1 --updates 1'
streams 0 'japanese_vowels --data vowels --hidden 8 --lr 0.01 --epochs 20'
streams 0 'jsb_chorales --data chorales.json --hidden 16 --lr 0.05 --epochs 60'
streams 0 lstm_cell_by_hand
streams 0 'sentiment --data films --embed 4 --hidden 4 --lr 0.02 --epochs 12'
streams 0 'step_curve --steps 2 --hidden 1'
streams 0 tape_by_hand
streams 0 your_own_op
for program in adding_problem caption_start char_lm classify copy_memory forecast gradient_flow japanese_vowels jsb_chorales lstm_cell_by_hand \
  sentiment step_curve tape_by_hand tune word_lm your_own_op; do
  line 0 Usage: "$program --help"
  line 2 'Run with --help for more information.' "$program --no-such"
  line 1 "$lost" "$program --help >&-"
done
# What could not be printed is no reason to lose what was learned, nor is progress that nobody can read.
rm -f s.safetensors
line 1 "$lost" 'char_lm train text --hidden 4 --batch 4 --seq 5 --steps 50 --out s.safetensors >&-'
line 0 'result {' 'char_lm sample s.safetensors --length 5'
rm -f s.safetensors
line 0 'result {' 'char_lm train text --hidden 4 --batch 4 --seq 5 --steps 50 --out s.safetensors 2>&-'
line 0 'result {' 'char_lm sample s.safetensors --length 5'

# --- files and options ------------------------------------------------------------------------------------------------

mkdir -p folder closed && cp small.safetensors old.safetensors && cp small.safetensors ./-m.safetensors
mkfifo pipe
ln -sf nowhere/at/all dangling && ln -sf text link && ln -sf made to_new && ln -f text twin
long=$(awk 'BEGIN { while (i++ < 300) printf "n" }')
printf 'PK\003\004\024\000\000\000%0200d' 0 >zip.safetensors
printf '\200\002}q\001(%0200d' 0 >pickle.safetensors
# model NAME METADATA HEADER BYTES: a model file of this header, with as many bytes of data.
bytes_of_size() {
  printf "\\$(printf %03o $(($1 % 256)))\\$(printf %03o $(($1 / 256 % 256)))\\$(printf %03o $(($1 / 65536 % 256)))\\$(printf %03o $(($1 / 16777216)))"
  printf '\0\0\0\0'
}
model() {
  header=$(printf '{"__metadata__":{"model":"char_lm",%s}%s}' "$2" "$3")
  { bytes_of_size ${#header}; printf %s "$header"; head -c "$4" /dev/zero; } >"$1.safetensors"
}
model promise '"vocabulary":"characters:ab","embed":"64","hidden":"15000","layers":"1"' '' 0
model layers '"vocabulary":"characters:ab","embed":"1","hidden":"1","layers":"1000"' '' 0
model many '"vocabulary":"characters:ab","embed":"1","hidden":"1","layers":"99999"' '' 0
model tall '"vocabulary":"characters:ab","embed":"1","hidden":"90000","layers":"2"' \
  ',"embed.weight":{"dtype":"F32","shape":[2,1],"data_offsets":[0,8]}' 8
model brain '"vocabulary":"characters:ab","embed":"1","hidden":"1","layers":"1"' \
  ',"embed.weight":{"dtype":"BF16","shape":[2,1],"data_offsets":[0,4]}' 4
# The elements of the last tensor, become NaN or infinite.
for bad in nan inf; do
  head -c -4 small.safetensors >$bad.safetensors
  [ $bad = inf ] && printf '\000\000\200\177' >>inf.safetensors || printf '\001\000\200\177' >>nan.safetensors
done
[ "$(head -c -4 small.safetensors 2>/dev/null | wc -c)" -gt 0 ] || rm -f nan.safetensors inf.safetensors

table <<END
2 text is the FILE that is read, and would be lost | train --out text
2 ./text is the FILE that is read | train --out ./text
2 link is the FILE that is read | train --out link
2 twin is the FILE that is read | train --out twin
2 tiny is the FILE that is read | char_lm quickstart tiny --out tiny
2 pipe: is a pipe: a regular file is wanted | train --out pipe
2 /dev/null: is a device: a regular file is wanted | train --out /dev/null
2 /dev/full: is a device | train --out /dev/full
2 folder: is a directory | train --out folder
2 folder/: does not name a file | train --out folder/
2 --out: [check_writable] : does not name a file | train --out ''
2 --out: 1 required TEXT missing | train --out=
2 File name too long | train --out $long
2 dangling: cannot open the directory | train --out dangling
2 text/m: cannot open the directory: Not a directory | train --out text/m
2 no/such/folder/m: cannot open the directory | train --out no/such/folder/m
0 "model":"to_new" | train --steps 1 --out to_new
0 "model":"-m.safetensors" | train --steps 1 --out=-m.safetensors
2 --svg: [check_writable] pipe: is a pipe | step_curve --svg pipe
2 --svg: [check_writable] : does not name a file | step_curve --svg ''
2 --svg: [check_writable] folder: is a directory | step_curve --svg folder
2 --svg: [check_writable] /dev/full: is a device | step_curve --svg /dev/full
2 File name too long | step_curve --svg $long
2 --dot: [check_writable] dangling: cannot open | tape_by_hand --dot dangling
2 --dot: [check_writable] : does not name a file | tape_by_hand --dot ''
2 --dot: [check_writable] /dev/null: is a device | tape_by_hand --dot /dev/null
1 no model was made: there was no time for a single step | train --seconds 1e-9 --out old.safetensors
1 no model was made: there was no time for a single step | train --seconds 1e-9 --epochs 5 --out none.safetensors
1 no model was made | char_lm quickstart tiny --out none.safetensors --seconds 1e-9
0 "parameters":1405, | char_lm train text --embed 010 --hidden 010 --batch 4 --seq 5 --steps 1 --out s.safetensors
0 "seed":18446744073709551615, | train --seed 18446744073709551615 --steps 1 --out s.safetensors
0 "seed":7, | train --seed 007 --steps 1 --out s.safetensors
0 "steps":2, | train --steps 2 --seconds 1e300 --epochs 1000000 --out s.safetensors
2 --steps: At Most 1 required but received 2 | train --steps 1 --steps 2
2 --out: At Most 1 required but received 2 | train --out a --out b
2 The following argument was not expected: more | train more
2 FILE is required | char_lm train
2 MODEL is required | char_lm sample
2 subcommand is required | char_lm
2 --unit: words not in {characters,bytes} | train --unit words
2 --optimizer: '' not in {adam,sgd} | train --optimizer "''"
2 too short for this --batch and --seq | char_lm train text --batch 1000 --seq 1000
2 [read_text_file] no-such: cannot open: No such file | char_lm train no-such
2 [read_text_file] pipe: is a pipe | char_lm train pipe
2 [read_text_file] : cannot open | char_lm train ''
2 [read_text_file] folder: is a directory | char_lm train folder
2 pipe: is a pipe: a regular file is wanted | char_lm sample pipe
2 no-such: cannot open: No such file | char_lm sample no-such
2 zip.safetensors: is a zip archive, as torch.save | char_lm sample zip.safetensors
2 pickle.safetensors: is a Python pickle | char_lm sample pickle.safetensors
2 promise.safetensors has no tensor embed.weight | char_lm sample promise.safetensors
2 layers.safetensors has no tensor embed.weight | char_lm sample layers.safetensors
2 has '99999' as metadata 'layers': it must be a number in [1, 1000] | char_lm sample many.safetensors
2 tall.safetensors has no tensor lstm.weight_ih_l0 | char_lm sample tall.safetensors
2 has embed.weight as BF16 (2, 1): load_tensors(path, {.widen_half = true}) makes it float32 | char_lm sample brain.safetensors
1 nan.safetensors: head.bias is nan at element | char_lm sample nan.safetensors
1 inf.safetensors: head.bias is inf at element | char_lm sample inf.safetensors
2 not in the vocabulary | sample --prompt '#'
2 is not UTF-8 | sample --prompt \$(printf '\\377')
2 --length: 0 is not a number in [1, 100000000] | sample --length 0
2 --temperature: -0.1 is not a number >= 0 | sample --temperature -0.1
0 result { | sample --temperature 1e-300
0 result { | sample --temperature 1e300
2 --lr: 0 is not a number > 0 | train --lr 0
1 gradient of | train --lr 1e30 --clip 0 --steps 9 --out none.safetensors
2 --dropout: 1 is not a number in [0, 1) | train --dropout 1
2 --threads: 1025 is not a number in [0, 1024] | tape_by_hand --threads 1025
2 --weight 16: there are 16 recurrent weights | step_curve --hidden 2 --weight 16
2 --x: 101 is not a number in [-100, 100] | tape_by_hand --x 101
0 "y":-0.0, | tape_by_hand --w -1 --x 0 --b=-0
2 --scale: -1 is not a number >= 0 | gradient_flow --scale 1 -1
END
# Headers of 12 MB, which are worth many times as much if one believes them, in the memory that twice as much would take.
# wide NAME BEGIN ITEM END: a header of items, each with a number for its %d.
wide() {
  awk -v begin="$2" -v item="$3" -v end="$4" \
    'BEGIN { printf "%s", begin; while (size < 12000000) { text = sprintf(item, i, i); ++i; size += length(text); printf "%s,", text }; printf "%s", end }' >header
  { bytes_of_size "$(wc -c <header)"; cat header; } >"$1.safetensors"
}
last='"z":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}'
wide empties '{' '"t%d":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}' "$last"
wide others '{' '"t%d":{"dtype":"I64","shape":[0],"data_offsets":[0,0]}' "$last"
wide shapes '{' '"t%d":{"dtype":"F32","shape":[0,%d],"data_offsets":[0,0]}' "$last"
wide metadata '{"__metadata__":{' '"%d":""' '"k":""}}'
wide text '{"__metadata__":{"k":"' '%d                                ' '"}}'
# As in tests/promises/little_memory.sh. The program alone takes 60 MB of addresses.
little() { (ulimit -v 100000 && OPENBLAS_NUM_THREADS=1 exec "$build/char_lm" sample "$1.safetensors"); }
if (ulimit -v 100000) 2>stderr; then
  for header in empties others; do line 2 "has no metadata 'vocabulary'" "little $header"; done
  for header in shapes metadata; do line 2 'the header would take more memory than' "little $header"; done
  line 2 'a text in the header has more than 4000000 bytes' 'little text'
fi

check "no command line has made a file that it should not" test ! -e none.safetensors -a ! -e nowhere -a ! -e "$long" -a -p pipe
check "nor harmed the text, or what was there" sh -c 'cmp -s small.safetensors old.safetensors && cmp -s text twin && [ -h dangling ]'

# --- signals ----------------------------------------------------------------------------------------------------------

# (Not by the functions above: what runs beside this shell is then a shell of its own.)

# signalled STATUS SIGNAL: a training that would take for ever ends with this status, and keeps what it has learned.
signalled() {
  rm -f s.safetensors stderr
  # Whoever runs the tests by nohup has SIGHUP ignored.
  env --default-signal="$2" "$build/char_lm" train text --hidden 8 --embed 4 --batch 4 --seq 10 --epochs 1000000 --out s.safetensors >stdout 2>stderr &
  until [ -s stderr ]; do sleep 0.01; done  # its first step is done
  kill -s "$2" $!
  wait $!
  status=$?
  kept() { [ "$status" = "$1" ] && grep -q "SIG$2 after [0-9]* steps: what was learned is in s.safetensors" stderr && grep -q '^result {' stdout; }
  check "char_lm train: SIG$2: $1, what was learned is kept and named" kept "$1" "$2"
  line 0 'result {' 'char_lm sample s.safetensors --length 5'
}
signalled 130 INT
signalled 143 TERM
signalled 129 HUP
# Its first step takes minutes.
rm -f stderr
"$build/char_lm" train text --hidden 3000 --layers 4 --batch 1000 --seq 15 --out never.safetensors >stdout 2>stderr &
sleep 0.3
kill -s TERM $!
sleep 0.1
kill -s TERM $!
wait $!
status=$?
check "char_lm train: a second signal ends it at once: 143" test "$status" = 143 -a ! -e never.safetensors
rm -f stderr
sh -c 'trap "" HUP; exec "$@"' sh "$build/char_lm" train text --hidden 8 --batch 4 --seq 10 --steps 2000 --out s.safetensors >stdout 2>stderr &
until [ -s stderr ]; do sleep 0.01; done
kill -s HUP $!
wait $!
status=$?
check "char_lm train: under nohup SIGHUP is ignored: 0" ended '"steps":2000,'
# Killed at any moment, often in the middle of a save: the next save to that name leaves only the model.
mkdir -p killed
for pause in 0.05 0.1 0.15; do
  "$build/char_lm" train text --hidden 300 --embed 4 --batch 4 --seq 10 --steps 20 --out killed/m.safetensors >stdout 2>stderr &
  sleep $pause
  kill -s KILL $!
  wait $! 2>stderr
done
: >killed/.m.safetensors.tmp-1-0
line 0 'result {' 'train --steps 1 --out killed/m.safetensors'
check "char_lm train: nothing but the model is left of those that were killed" test "$(ls -A killed)" = m.safetensors
