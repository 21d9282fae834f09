# The programs that learn a published task: on made data that are quickly learnt, and shortly on the public ones where these are.
# Read by examples.sh, whose functions it uses; command_lines.sh uses the data it makes.
# shellcheck shell=sh disable=SC2154,SC2016  # root, status: of examples.sh

data=${TAPEGRAD_DATA:-$root/../shared/data}  # japanese_vowels/, poly_music/, rt-polarity/
# skip WORDS FILE: says that a check needs the file; false if it is there.
skip() {
  [ ! -e "$data/$2" ] || return 1
  skipped=$((skipped + 1))
  printf 'skipped: %s needs %s in TAPEGRAD_DATA, or in shared/data beside the checkout\n' "$1" "$2"
}

run adding_problem --steps 4 --hidden 32 --lr 0.01 --quiet
check "adding_problem: all layers add over 4 steps" ended \
  '"lstm","solved":1,.*"gru","solved":1,.*"tanh","solved":1,.*"mingru","solved":1,'
run adding_problem --steps 100 --hidden 4 --updates 2 --check 1 --quiet
check "adding_problem: what is not solved is a failure" failed_with '^MISSED: not solved by lstm, gru;'
check "adding_problem: and the error is the variance still" result '"tanh","solved":0,"updates":2,"loss"' '> 0.1'
run adding_problem --steps 1
check "adding_problem: refuses a sequence without halves" refused '--steps: 1 is not'
run copy_memory --steps 1 --hidden 8 --updates 2 --check 1 --layer gru --quiet
check "copy_memory: what is not solved is a failure, and only the layer chosen ran" failed_with '^MISSED: not solved by gru;'
check "copy_memory: the baseline is 10 ln 8 / (T + 20)" result '"baseline"' '== 0.990210257942779'
run copy_memory --steps 1 --hidden 32 --updates 600 --layer lstm --lr 0.02 --quiet
check "copy_memory: a few updates are enough to remember some symbols" result '"loss"' '< 0.8'
run caption_start --steps 4 --hidden 40 --updates 1000 --batch 64 --lr 0.02 --quiet
check "caption_start: h0, c0 and x0 reach the best that is possible" ended '"start":"x0"'
check "caption_start: without features it does not reach the best who sees them" result '"nothing","nats"' '> 1.1'

run caption_start --updates 1 --hidden 4 --lr 1e38 --quiet
check "caption_start: a loss that is not finite misses the bound" failed_with '^MISSED: '
# stopped PROGRAM: Ctrl-C after its first update, when there are more layers or starts to come.
stopped() {
  rm -f stderr
  "$build/$1" --updates 10000000 >stdout 2>stderr &
  until [ -s stderr ]; do sleep 0.01; done
  kill -s INT $!
  wait $!
  status=$?
}
for program in adding_problem copy_memory; do
  stopped $program
  check "$program: after Ctrl-C, what the layer has reached is measured, and no other begins" \
    sh -c "[ $status = 130 ] && tail -n 1 stdout | grep -q '\"layers\":\[{\"layer\":\"lstm\",\"solved\":0,[^}]*\"loss\":[0-9.]*[1-9][^}]*}\]'"
done
stopped caption_start
check "caption_start: after Ctrl-C, no other start is tried" \
  sh -c "[ $status = 130 ] && tail -n 1 stdout | grep -q '\"starts\":\[{\"start\":\"nothing\",[^}]*}\]'"

# utterances LINES: three speakers, whose channels differ in their means, 2 to 6 steps.
utterances() {
  awk -v lines="$1" 'BEGIN { print "#made\n@data"; for (i = 0; i < lines; ++i) {
    for (c = 0; c < 12; ++c) { for (t = 0; t < 2 + i % 5; ++t) { x = (x * 69069 + 1) % 65536
      printf "%s%.4f", t ? "," : "", x / 65536 + (c % 3 == i % 3) } printf ":" }
    print "speaker " i % 3 } }'
}
mkdir -p vowels lame dumb
utterances 90 >vowels/JapaneseVowels_TRAIN.ts
utterances 40 >vowels/JapaneseVowels_TEST.ts
learnt='--hidden 8 --lr 0.01 --epochs 20 --quiet'
# shellcheck disable=SC2086  # $learnt is a list of options
{
  run japanese_vowels --data vowels $learnt
  check "japanese_vowels: learns made speakers" ended '"accuracy":1.0,'
  check "japanese_vowels: prints the baseline and what is published" grep -q 'published: LSTM 79.7 %' stdout
  sed 's/"seconds":[^,]*,//' stdout | tail -n 1 >first
  run japanese_vowels --data vowels $learnt --threads 1
  sed 's/"seconds":[^,]*,//' stdout | tail -n 1 >second
  check "japanese_vowels: the same seed, the same result, whatever the threads" same first second
}
run japanese_vowels --data vowels --hidden 1 --epochs 1 --lr 1e-9 --quiet
check "japanese_vowels: a bound that is missed is exit status 1" failed_with '^MISSED: '
run japanese_vowels
check "japanese_vowels: without data, says which and from where" refused 'JapaneseVowels_TRAIN.ts.*https://www.timeseriesclassification.com'
run japanese_vowels --data no/such/folder
check "japanese_vowels: and of a folder that is not there" refused 'https://www.*no/such/folder/JapaneseVowels_TRAIN.ts'
sed 's/1.*speaker/:speaker/' vowels/JapaneseVowels_TRAIN.ts >lame/JapaneseVowels_TRAIN.ts
run japanese_vowels --data lame
check "japanese_vowels: refuses what is no utterance, and names the line" refused 'lame/JapaneseVowels_TRAIN.ts, line 3: is to be 12 channels'
printf '@data\n' >dumb/JapaneseVowels_TRAIN.ts
run japanese_vowels --data dumb
check "japanese_vowels: refuses a file without utterances" refused 'dumb/JapaneseVowels_TRAIN.ts: has no utterances'
cp vowels/JapaneseVowels_TRAIN.ts dumb
sed 's/speaker 1/speaker 4/' vowels/JapaneseVowels_TEST.ts >dumb/JapaneseVowels_TEST.ts
run japanese_vowels --data dumb
check "japanese_vowels: refuses a speaker nobody has heard" refused "dumb: the speaker 'speaker 4' to test is not in"
skip "japanese_vowels: 95 % of the real utterances" japanese_vowels/JapaneseVowels_TRAIN.ts || {
  run japanese_vowels --data "$data/japanese_vowels" --quiet
  check "japanese_vowels: 95 % of the real utterances" ended '"baseline":0.237'
}

# chorales FRAMES: chorales that go through four chords: 30 to learn from, 20 to validate, those of so many frames to test.
chorales() {
  awk -v frames="$1" 'function print_part(name, count, i, t, frames_here) { printf "\"%s\":[", name
      for (i = 0; i < count; ++i) { printf (i ? ",[" : "["); frames_here = frame[1 + i % n]
        for (t = 0; t < frames_here; ++t) printf "%s%s", t ? "," : "", chord[1 + (frames_here + t) % 4]; printf "]" } printf "]" }
    BEGIN { split("[60,64,67] [65,69] [] [62,67,71]", chord)
      n = split("2 3 4 5 6 7 8 9 10 11", frame); printf "{"; print_part("train", 30); printf ","; print_part("valid", 20); printf ","
      n = split(frames, frame); print_part("test", n); print "}" }'
}
chorales '3 11 6 7 8' >chorales.json
for layer in lstm gru rnn; do
  run jsb_chorales --data chorales.json --layer $layer --hidden 16 --lr 0.05 --epochs 60 --quiet
  check "jsb_chorales --layer $layer: learns made chorales" ended "\"layer\":\"$layer\","
  check "jsb_chorales --layer $layer: better than frequencies alone" result '"nll_test"' '< 3'
done
for frames in 3 11 '3 11'; do
  chorales "$frames" >test.json
  run jsb_chorales --data test.json --hidden 16 --epochs 5 --quiet
  tail -n 1 stdout | sed 's/.*"nll_test":\([0-9.]*\).*/\1/'
done >means
check "jsb_chorales: the mean is over all frames of both, whatever stands behind the end of the shorter one" \
  awk '{ nll[NR] = $1 } END { d = 2 * nll[1] + 10 * nll[2] - 12 * nll[3]; exit !(NR == 3 && d * d < 1e-6) }' means
run jsb_chorales --data chorales.json --hidden 1 --epochs 1 --quiet
check "jsb_chorales: a bound that is missed is exit status 1" failed_with '^MISSED: '
check "jsb_chorales: and the result is still there" grep -q '^result {' stdout
run jsb_chorales
check "jsb_chorales: without data, says which and from where" refused 'jsb-chorales-quarter.json of https://github.com/czhuang'
run jsb_chorales --data text
check "jsb_chorales: refuses what is no JSON" refused 'text: .*parse error'
for wrong in '{"train":[[[60],[109]]]}:109 is no MIDI note' '{"train":[[[60],[60.5]]]}:60.5 is no MIDI note' \
  '{"train":[[[60]]]}:has fewer than 2 frames' '{"valid":[]}:has no chorales "train"' '{"train":[60]}:type must be array'; do
  printf '%s\n' "${wrong%:*}" >wrong.json
  run jsb_chorales --data wrong.json
  check "jsb_chorales: refuses ${wrong%:*}" refused "${wrong##*:}"
done
run jsb_chorales --data chorales.json --layer transformer
check "jsb_chorales: refuses another layer" refused '--layer'
skip "jsb_chorales: the real chorales" poly_music/JSB_Chorales.json || {
  run jsb_chorales --data "$data/poly_music/JSB_Chorales.json" --hidden 8 --epochs 1 --quiet
  check "jsb_chorales: the real chorales, and their frequencies" \
    sh -c "grep -q '^229 chorales to learn from, 76 to validate, 77 to test' stdout && grep -q 'frequencies of the keys: 11.09' stdout"
}

# opinions: 300 sentences of either kind among other words, one with a byte of Latin-1: what "good" and "bad" say is turned round by
# "not" in front of them, so that a set of words does not tell.
opinions() {
  awk -v kind="$1" 'BEGIN { for (i = 0; i < 300; ++i) { turned = i % 2
      words = turned ? "not " : ""; words = words ((turned == kind) ? "bad" : "good")
      for (k = 0; k < 2 + i % 4; ++k) { x = (x * 69069 + 1 + kind) % 65536; word = "w" int(x / 8192)
        words = x % 2 ? words " " word : word " " words }
      print words (turned ? "" : " not") " caf\351" } }'
}
mkdir -p films no_words
opinions 1 >films/rt-polarity.pos
opinions 0 >films/rt-polarity.neg
learnt='--embed 16 --hidden 16 --lr 0.01 --epochs 12 --quiet'
# shellcheck disable=SC2086  # $learnt is a list of options
{
  run sentiment --data films $learnt
  check "sentiment: learns made opinions" result '"accuracy"' '> 0.95'
  check "sentiment: which a set of words does not tell" result '"bag_of_words"' '< 0.8'
  check "sentiment: and says who wins" grep -q 'logistic regression on words: .*: the LSTM wins$' stdout
  check "sentiment: prints the split and what is published" \
    sh -c "grep -q '^480 sentences to learn from, 60 to validate, 60 to test; ' stdout && grep -q 'published: .* 76.1 %' stdout"
  sed 's/"seconds":[^,]*,//' stdout | tail -n 1 >first
  run sentiment --data films $learnt --threads 1
  sed 's/"seconds":[^,]*,//' stdout | tail -n 1 >second
  check "sentiment: the same seed, the same result, whatever the threads" same first second
}
run sentiment --data films --epochs 1 --lr 1e-9 --quiet
check "sentiment: a bound that is missed is exit status 1" failed_with '^MISSED: '
check "sentiment: and the result is still there" result '"accuracy"' '< 0.7'
run sentiment
check "sentiment: without data, says which and from where" refused 'rt-polarity.pos and rt-polarity.neg.*https://www.cs.cornell.edu'
run sentiment --data no/such/folder
check "sentiment: and of a folder that is not there" refused 'https://www.*no/such/folder/rt-polarity.neg'
printf ' \n\n' >no_words/rt-polarity.neg
run sentiment --data no_words
check "sentiment: refuses a file without words" refused 'no_words/rt-polarity.neg: has no words'
echo 'a film' | tee no_words/rt-polarity.neg >no_words/rt-polarity.pos
run sentiment --data no_words
check "sentiment: refuses fewer sentences than parts" refused 'no_words: has fewer than 10 sentences'
run sentiment --data films --dropout 1
check "sentiment: refuses a dropout of 1" refused '--dropout'
skip "sentiment: the real sentences" rt-polarity/rt-polarity.pos || {
  run sentiment --data "$data/rt-polarity" --embed 8 --hidden 4 --epochs 1 --lr 0.01 --quiet  # shortly: the bound is missed
  check "sentiment: the real sentences, and a logistic regression that learns them" result '"bag_of_words"' '> 0.7'
  check "sentiment: all of them" grep -q '^8530 sentences to learn from, 1066 to validate, 1066 to test; ' stdout
}
