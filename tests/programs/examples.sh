#!/bin/sh
# Runs the example programs as a user would: what they print, what they refuse, how they end.
# usage: tests/programs/examples.sh [BUILD_DIR]      default: build/release of this checkout
# A line for each check; the last line is "N passed, N failed, N skipped". Exit: 0 all passed; 1 a failure; 2 a program is missing.
set -u
root=$(CDPATH='' cd -- "$(dirname -- "$0")/../.." && pwd) || exit 2
build=$(CDPATH='' cd -- "${1:-$root/build/release}" && pwd) || exit 2
for program in adding_problem bptt_by_hand caption_start char_lm classify copy_memory forecast gradient_flow japanese_vowels jsb_chorales \
  lstm_cell_by_hand sentiment short_names short_ptb short_sunspots step_curve tape_by_hand tune word_lm wrong_gradient your_own_op; do
  [ -x "$build/$program" ] || { printf '%s\n' "$build/$program is not there; build it first" >&2; exit 2; }
done
dir=$(mktemp -d) || exit 2
trap 'rm -rf "$dir"' EXIT
trap 'exit 1' HUP INT TERM
cd "$dir" || exit 2
passed=0 failed=0 skipped=0

# check WORDS CONDITION...: counts the check; a failed one shows what the program last said.
check() {
  words=$1; shift
  if "$@"; then
    passed=$((passed + 1)); printf 'passed: %s\n' "$words"
  else
    failed=$((failed + 1)); printf 'FAILED: %s (exit status %s)\n' "$words" "$status"
    sed 's/^/  | /' stdout stderr
  fi
}
# run PROGRAM ARGUMENTS...: keeps its stdout, stderr and exit status.
run() { program=$1; shift; "$build/$program" "$@" >stdout 2>stderr </dev/null; status=$?; }

# ended [PATTERN]: well, with the result on the last line of stdout, matching PATTERN.
ended() { [ "$status" = 0 ] && tail -n 1 stdout | grep -q "^result {.*${1:-}.*}\$"; }
# failed_with PATTERN: a failure, and not another one.
failed_with() { [ "$status" = 1 ] && cat stdout stderr | grep -q -e "$1"; }
# refused PATTERN: wrong use, said on stderr, nothing on stdout.
refused() { [ "$status" = 2 ] && [ ! -s stdout ] && grep -q -e "$1" stderr; }
same() { cmp -s "$1" "$2"; }
without_times() { sed 's/"seconds":[^,]*,//; s/"characters_per_second":[^,]*,//; s/"model":[^,}]*//' stdout; }
# result KEY RELATION: the number behind KEY (a sed pattern) in the result stands in the relation to another, as in '< 1e-6'.
result() {
  number=$(tail -n 1 stdout | sed -n "s/.*$1:\\(-*[0-9][0-9.e+-]*\\)[,}].*/\\1/p")
  [ -n "$number" ] && awk "BEGIN { exit !($number $2) }"
}
# shown COMMAND DOCUMENT: the block behind the command, without its gaps.
shown() {
  awk -v command="$1" 'index($0, command) == 1 { found = 1 } inside && /^```/ { exit } inside && $0 != "..." { print }
    found && /^```text/ { inside = 1 }' "$root/$2" >quote
  [ -s quote ]
}
# quoted COMMAND [DOCUMENT]: docs/bptt.md shows the command, and each line of the block behind it is one of stdout.
quoted() { shown "$1" "${2:-docs/bptt.md}" && ! grep -vxFf stdout quote; }
numberless() { sed 's/-*[0-9][0-9.]*\(e[-+]*[0-9]*\)*/N/g' "$1"; }
# alike COMMAND DOCUMENT: the same but for the numbers.
alike() { shown "$1" "$2" && numberless stdout >stdout.n && numberless quote >quote.n && ! grep -vxFf stdout.n quote.n; }
# near: docs/gradient_testing.md has a table of the best steps' errors, each within a factor of ten of what the program printed
# (its rounding is the machine's).
near() {
  awk -F'|' 'FNR == NR && / points .*float64: h = / {
      split($0, word, " "); split($0, part, "h = 2\\^-?[0-9]+ +"); split(part[2], a, " "); split(part[3], b, " ")
      double[word[1]] = a[1]; float[word[1]] = b[1]; next }
    FNR != NR && /^\| [246] points / { split($2, word, " "); p = word[1]; ++rows
      if (!($4 + 0 > double[p] / 10 && $4 + 0 < double[p] * 10 && $6 + 0 > float[p] / 10 && $6 + 0 < float[p] * 10)) bad = 1 }
    END { exit !(rows == 3 && !bad) }' stdout "$root/docs/gradient_testing.md"
}
is_plain() { ! LC_ALL=C grep -q "$(printf '[\001-\010\013-\037]')" "$1"; }

# A text with a pattern that is quickly learnt, in UTF-8: 600 lines.
awk 'BEGIN { for (i = 0; i < 600; ++i) print "the cat sat on mat " i % 10 ", caf\303\251." }' >text
head -c 30 text >tiny
: >empty
printf 'abc \377\376 %s\n' "$(cat text)" >latin

run lstm_cell_by_hand
check "lstm_cell_by_hand: the cell equals LSTMCell and LSTM" ended '"max_difference":'
check "lstm_cell_by_hand: prints h and c of each step" test "$(grep -c '^t = .*h = ' stdout)" = 5
run lstm_cell_by_hand --steps 0
check "lstm_cell_by_hand: refuses 0 steps" refused '--steps'

run tape_by_hand --dot tape.dot
check "tape_by_hand: tape and hand agree" ended '"max_difference":0.0'
check "tape_by_hand: forward before backward, gradients of w, x and b" \
  sh -c "sed -n '/^forward/,/^by hand/p' stdout | tr '\n' ' ' | grep -q '#3 = mul(w, x).*#5 = tanh.*dy = 1 .*db = .*dx = .*dw = '"
check "tape_by_hand: writes a graph" grep -q '^n3 -> n4 ' tape.dot
run tape_by_hand
check "tape_by_hand: README.md shows what it prints" quoted build/release/tape_by_hand README.md
run tape_by_hand --dot no/such/folder/tape.dot
check "tape_by_hand: refuses a file that cannot be written" refused 'no/such/folder'
run tape_by_hand --x nan
check "tape_by_hand: refuses what is no number" refused '--x'
run your_own_op
check "your_own_op: the right rule passes, the wrong one is found" ended '"right":"PASS","second_order":"PASS","wrong":"FAIL"'

for mistake in none:PASS averaged:factor assigned:zero transposed:transpose negated:sign; do
  run wrong_gradient --mistake "${mistake%:*}"
  check "wrong_gradient: finds what is wrong, $mistake" ended "\"mistake\":\"${mistake%:*}\",.*\"${mistake#*:}[:\"]"
done
run wrong_gradient --mistake averaged
check "wrong_gradient: README.md shows what it prints" alike 'build/release/wrong_gradient --mistake averaged' README.md
sed -n '/^<!-- snippet: none/,/^```$/p' "$root/README.md" | sed 's/^ *//; /^<!--/d; /^```/d' >code
sed 's/^ *//' "$root/examples/wrong_gradient.cpp" >source
check "wrong_gradient: README.md shows its code" sh -c '[ -s code ] && ! grep -vxFf source code'
check "wrong_gradient: and the diagnosis to the digit" sh -c 'grep "factor: " quote | grep -qxFf stdout'
run wrong_gradient --mistake forgotten
check "wrong_gradient: refuses an unknown mistake" refused '--mistake'

run bptt_by_hand --x 1,-0.5,2 --cut 1
check "bptt_by_hand: hand and tape agree" result '"max_difference"' '< 1e-15'
grep '^| [^|]' "$root/docs/bptt.md" >page
check "bptt_by_hand: docs/bptt.md has its tables, all of them and in this order" eval "grep '^| [^|]' stdout | cmp -s - page"
check "bptt_by_hand: docs/bptt.md names the command" grep -q '^build/release/bptt_by_hand --x 1,-0.5,2 --cut 1$' "$root/docs/bptt.md"
run bptt_by_hand --cut 1 --csv
check "bptt_by_hand: each number is a line of CSV" python3 -c 'import csv, sys
lines = list(csv.DictReader(open("stdout").read().splitlines()[:-1]))
table = lambda name: sum(line["table"] == name and float(line["value"]) < 1e9 for line in lines)
sys.exit([table(t) for t in ("weights", "forward", "backward", "weights'"'"' gradients", "truncation")] != [12, 44, 26, 48, 16])'
run bptt_by_hand --cut 2
check "bptt_by_hand: answers exercise 4 of docs/bptt.md" grep -q '^| dW_ih, cut .* 0.017557 | *[-0-9.]* |$' stdout
run bptt_by_hand --w-ih 0.5,-0.4,0.91,0.3
check "bptt_by_hand: and one half of exercise 6" ended '"loss":0.452610'
run bptt_by_hand --x 0.1,0.2,0.3,0.4,-1 --r 1,1,1,1,1 --w-hh 9,9,9,9 --cut 4
check "bptt_by_hand: other numbers" ended '"steps":5,'
run bptt_by_hand --x 1,2
check "bptt_by_hand: refuses inputs without targets" refused "--r '0.5,0,-0.5': 3 numbers, but --x has 2"
run bptt_by_hand --cut 3
check "bptt_by_hand: refuses a cut behind the last step" refused '--cut 3: --x has 3 steps'
run bptt_by_hand --b 1,,2,nan
check "bptt_by_hand: refuses what is no number" refused "--b '1,,2,nan': '' is not a number"
run bptt_by_hand --b 1,2
check "bptt_by_hand: refuses too few gates" refused "--b '1,2': 2 numbers, but the gates i, f, g, o need 4"

rnn='"scale":%s,"dh_ratio"' lstm='"forget_bias":%s,[^}]*"%s_ratio"'
run gradient_flow --svg flow.svg
check "gradient_flow: ends with a result" ended '"rnn":\[{"scale":0.5,'
check "gradient_flow: a line for each state, initial and after each step" test "$(grep -c '^ *[0-9][0-9]* |' stdout)" = 51
check "gradient_flow: docs/bptt.md quotes what it prints" quoted 'build/release/gradient_flow --svg docs/gradient_flow.svg'
check "gradient_flow: docs/gradient_flow.svg is what it draws" same flow.svg "$root/docs/gradient_flow.svg"
check "gradient_flow: the picture is XML" python3 -c 'import xml.dom.minidom; xml.dom.minidom.parse("flow.svg")'
check "gradient_flow: with a curve for each tanh network, two for each LSTM" test "$(grep -c '<path [^>]*fill="none"' flow.svg)" = 9
# shellcheck disable=SC2059  # the formats are above
{
  check "gradient_flow: a tanh network with singular values of 0.5 vanishes" result "$(printf "$rnn" 0.5)" '< 1e-15'
  check "gradient_flow: with singular values of 1 it vanishes, too" result "$(printf "$rnn" 1.0)" '< 1e-5'
  check "gradient_flow: with singular values of 3 it explodes" result "$(printf "$rnn" 3.0)" '> 1e6'
  check "gradient_flow: an LSTM's cell alone vanishes with forget bias 0" result "$(printf "$lstm" 0.0 through)" '< 1e-14'
  check "gradient_flow: and with 1" result "$(printf "$lstm" 1.0 through)" '< 1e-6'
  check "gradient_flow: with 1, what comes through h is more by far" result "$(printf "$lstm" 1.0 dc)" '> 1e-2'
  check "gradient_flow: with 5 it keeps more than half" result "$(printf "$lstm" 5.0 through)" '> 0.5'
  check "gradient_flow: and with what comes through h it grows" result "$(printf "$lstm" 5.0 dc)" '> 10'
  run gradient_flow --lstm-scale 5
  check "gradient_flow: docs/bptt.md quotes large weights" quoted 'build/release/gradient_flow --lstm-scale 5'
  for bias in 0.0 1.0 5.0; do
    check "gradient_flow: an LSTM with large weights and forget bias $bias explodes" result "$(printf "$lstm" $bias dh)" '> 100'
  done
  run gradient_flow --lstm-scale 0 --forget 1
  check "gradient_flow: without W_hh, all goes through the cell" test "$(awk '$1 ~ /^[0-9]+$/ && $(NF - 1) == $NF' stdout | wc -l)" = 51
  check "gradient_flow: and is a product of forget gates near sigmoid(1)" result "$(printf "$lstm" 1.0 dc)" '> 0.7 ^ 50'
}
run gradient_flow --lstm-scale 1e308 --steps 3
check "gradient_flow: a gradient that is not finite is a failure" failed_with 'a gradient is not finite'
check "gradient_flow: and the result is still there" grep -q '^result {' stdout
run gradient_flow --svg no/such/folder/flow.svg
check "gradient_flow: refuses a picture that cannot be written" refused 'no/such/folder'
run gradient_flow --forget nan
check "gradient_flow: refuses a bias that is not a number" refused '--forget'

ldd "$build/char_lm" >needed 2>/dev/null
check "README.md: names the libraries that a program needs" sh -c 'grep -q libopenblas needed && grep -q libfmt needed && grep -q libhwy needed'
run step_curve --svg curve.svg
check "step_curve: ends with a result" ended '"float64":\[{"points":2,"log2_h":-[0-9]*,"error":'
check "step_curve: a line for each step" test "$(grep -c '^ *h = 2^-' stdout)" = 40
check "step_curve: docs/gradient_testing.md quotes what it measures" near
check "step_curve: draws six curves" test "$(grep -c '<path [^>]*fill="none"' curve.svg)" = 6
check "step_curve: and the picture is XML" python3 -c 'import xml.dom.minidom; xml.dom.minidom.parse("curve.svg")'
run step_curve --svg no/such/folder/curve.svg
check "step_curve: refuses a file that cannot be written" refused 'no/such/folder'
run step_curve --hidden 2 --weight 16
check "step_curve: refuses a weight that is not there" refused '--weight'

small='--hidden 16 --embed 8 --batch 4 --seq 10 --quiet'
# So large that the LSTM's rows are two blocks and worth a second thread.
split='--hidden 40 --embed 8 --batch 34 --seq 10 --quiet'
# shellcheck disable=SC2086  # $small and $split are lists of options
{
  run char_lm train text $split --steps 40 --seed 3 --out a.safetensors --threads 2
  check "char_lm train: ends with a result" ended '"loss_valid":[0-9.]*,"steps":40,'
  check "char_lm train: --quiet is quiet" test ! -s stderr
  without_times >first
  run char_lm train text $split --steps 40 --seed 3 --out b.safetensors --threads 1
  without_times | sed 's/"threads":1/"threads":2/' >second
  check "char_lm train: the same seed, the same result, whatever the threads" same first second
  check "char_lm train: the same seed, the same model" same a.safetensors b.safetensors
  run char_lm train text --hidden 12 --embed 8 --layers 2 --dropout 0.3 --batch 4 --seq 10 --epochs 1 --optimizer sgd \
    --schedule constant --lr 0.5 --clip 0 --unit bytes --out c.safetensors
  check "char_lm train: two layers, dropout, SGD, bytes" ended '"parameters":'
  check "char_lm train: progress in a pipe has no control characters" is_plain stderr
  check "char_lm train: progress is shown" grep -q 'chars/s' stderr
  run char_lm train text $small --steps 3 --lr 1e30 --clip 0 --out bad.safetensors
  check "char_lm train: a loss that explodes is a failure" failed_with 'gradient of .* is nan'
  check "char_lm train: then no model is written" test ! -e bad.safetensors

  run char_lm train no-such-file $small
  check "char_lm train: refuses a text that is not there" refused 'no-such-file'
  run char_lm train . $small
  check "char_lm train: refuses a folder" refused ' \.: is a directory'
  run char_lm train empty $small
  check "char_lm train: refuses an empty text" refused 'empty: is empty'
  run char_lm train latin $small
  check "char_lm train: refuses what is not UTF-8, and names the cure" refused '--unit bytes'
  run char_lm train tiny $small
  check "char_lm train: refuses a text shorter than one window" refused 'tiny: too short'
  run char_lm train text $small --out no/such/folder/m.safetensors
  check "char_lm train: refuses a folder that is not there before it trains" refused 'no/such/folder'
}
for wrong in '--hidden 0' '--hidden x' '--dropout 1' '--dropout -0.1' '--lr nan' '--lr 0' '--seconds -1' '--optimizer adamw' \
  '--schedule cosine' '--seed -1' '--steps -5' '--unit words' '--batch 0' '--no-such-option'; do
  # shellcheck disable=SC2086
  run char_lm train text $wrong
  check "char_lm train: refuses $wrong" refused "${wrong%% *}"
done

run char_lm sample a.safetensors --prompt 'the caf' --length 50 --seed 4
check "char_lm sample: writes on from the prompt" grep -q '^the caf' stdout
check "char_lm sample: ends with a result" ended '"characters":50,'
sed '$d' stdout >first
run char_lm sample a.safetensors --prompt 'the caf' --length 50 --seed 4
sed '$d' stdout >second
check "char_lm sample: the same seed, the same text" same first second
run char_lm sample c.safetensors --length 20 --temperature 0
check "char_lm sample: bytes, temperature 0, no prompt" ended
run char_lm sample a.safetensors --prompt 'the #'
check "char_lm sample: refuses an unknown character" refused "'#' .*not in the vocabulary"
run char_lm sample text
check "char_lm sample: refuses what is no model" refused 'text: .*no safetensors file'
head -c 1000 a.safetensors >cut.safetensors
run char_lm sample cut.safetensors
check "char_lm sample: refuses a model cut off" refused 'cut.safetensors: .*cut off'

# Each line ends with the letter it began with: too far back for a 5-gram.
awk 'BEGIN { for (i = 0; i < 3000; ++i) { x = (x * 69069 + 1) % 65536; c = x < 32768 ? "a" : "b"; print c "------" c } }' >far
run char_lm quickstart far --hidden 32 --seconds 0 --steps 200 --lr 0.01 --out q.safetensors --quiet
check "char_lm quickstart: ends with a result" ended '"ngram_losses":\['
check "char_lm quickstart: names what it made" grep -q '^Made: q.safetensors' stdout
check "char_lm quickstart: the file is there" test -s q.safetensors
# Of what it writes before and after, README.md shows no more than the frame: the lines between two of "----" are the model's.
frame() {
  shown ./examples/quickstart.sh README.md &&
    awk '/^----$/ { inside = !inside } !(inside || /goes on after/)' quote >frame && [ "$(grep -c . frame)" = 8 ] &&
    numberless frame >frame.n && numberless stdout >stdout.n && ! grep -vxFf stdout.n frame.n
}
check "char_lm quickstart: README.md shows what it prints" frame
run char_lm quickstart text --hidden 1 --lr 1e-9 --seconds 0.3 --out q.safetensors --quiet
check "char_lm quickstart: a bound that is missed is exit status 1" failed_with '^MISSED: '
check "char_lm quickstart: and the result is still there" grep -q '^result {' stdout
run char_lm quickstart tiny --hidden 4 --seconds 0.3 --out q.safetensors --quiet
check "char_lm quickstart: takes a text of 30 bytes" grep -q '^result {' stdout

run char_lm
check "char_lm: refuses no command" refused 'command'
run char_lm dream
check "char_lm: refuses another command" refused 'dream\|command'
for command in train sample quickstart; do
  run char_lm "$command" --help
  check "char_lm $command --help: defaults and an example" \
    sh -c "[ $status = 0 ] && grep -q 'Example: char_lm $command' stdout && grep -q -e '--seed UINT.*=1' stdout"
done

. "$root/tests/programs/learning.sh"
. "$root/tests/programs/toolkit.sh"
. "$root/tests/programs/command_lines.sh"

printf '%s passed, %s failed, %s skipped\n' "$passed" "$failed" "$skipped"
[ "$failed" = 0 ]
