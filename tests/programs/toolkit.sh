# The programs that show the training toolkit: on made data that are quickly learnt, and shortly on the public ones where these are.
# Read by examples.sh, whose functions it uses, after learning.sh, which knows where the public data are.
# shellcheck shell=sh disable=SC2154,SC2016  # root, data, build, status: of examples.sh and learning.sh

# waves ROWS NOISE: a season of 12 rows with noise, and a column that says nothing.
waves() {
  awk -v rows="$1" -v noise="$2" 'BEGIN { print "row,flow,other"; for (t = 0; t < rows; ++t) { x = (x * 69069 + 1) % 65536
    print t "," 10 + 5 * sin(t * 6.2831853 / 12) + noise * (x / 65536 - 0.5) "," x % 7 } }'
}
# walk ROWS: a random walk.
walk() {
  awk -v rows="$1" 'BEGIN { print "price"; for (t = 0; t < rows; ++t) {
    for (k = 0; k < 12; ++k) { x = (x * 69069 + 12345) % 4294967296; y += x / 4294967296 - 0.5 } print 100 + y } }'
}
waves 400 2 >waves.csv
walk 900 >walk.csv
quick='--look-back 12 --horizon 3 --hidden 8 --epochs 15 --lr 0.01 --quiet'
# shellcheck disable=SC2086  # $quick is a list of options
{
  run forecast waves.csv --target flow --inputs other --season 12 $quick --report waves.html
  check "forecast: learns a season, and says so" ended '"rmse_by_step":\['
  check "forecast: and that last season's values would do as well" grep -q 'No skill: seasonal-naive is as good' stdout
  check "forecast: a page with text and picture" sh -c 'grep -q "^<!doctype html>" waves.html && grep -q "</svg>" waves.html'
  check "forecast: prints who wins" grep -q 'autoregression of order .* wins over all steps$' stdout
  sed 's/"seconds":[^,]*,//' stdout | tail -n 1 >first
  run forecast waves.csv --target flow --inputs other --season 12 $quick --threads 1
  sed 's/"seconds":[^,]*,//' stdout | tail -n 1 >second
  check "forecast: the same seed, the same result, whatever the threads" same first second
  (trap '' XFSZ; ulimit -f 0; exec "$build/forecast" waves.csv --target flow $quick --report full.html) 2>/dev/null | cat >stdout
  check "forecast: a page that cannot be written does not take the result with it" grep -q '^result {' stdout
  run forecast waves.csv --target flow $quick
  check "forecast: with skill over persistence" grep -q '^  Skill: better than persistence at all horizons' stdout
  run forecast waves.csv --target flow $quick --order 5
  check "forecast: beside an autoregression of a given order" grep -q '^autoregression of order 5 by' stdout
  awk -F, 'NR == 1 { print "flow"; next } { printf "%.9f\n", $2 }' waves.csv >near_0.csv
  awk -F, 'NR == 1 { print "flow"; next } { printf "%.9f\n", 1e9 + $2 }' waves.csv >far_from_0.csv
  run forecast near_0.csv $quick
  sed 's/.*"baseline":\([0-9]*\.[0-9]\{4\}\).*"epochs":\([0-9]*\).*/\1 \2/' stdout | tail -n 1 >first
  run forecast far_from_0.csv $quick
  sed 's/.*"baseline":\([0-9]*\.[0-9]\{4\}\).*"epochs":\([0-9]*\).*/\1 \2/' stdout | tail -n 1 >second
  check "forecast: the same of a series far from 0" same first second
  run forecast walk.csv $quick
  check "forecast: a random walk has no skill" grep -q 'No skill' stdout
  check "forecast: and its forecast is the input, shifted by 1" grep -q 'the input shifted by 1' stdout
}
run forecast waves.csv --target flow --epochs 1 --lr 1e-9 --dropout 0.9 --hidden 1 --seed 3 --quiet
check "forecast: a bound that is missed is exit status 1" failed_with '^MISSED: '
run forecast waves.csv --target flow --epochs 1 --batch 1000 --lr 3e38 --quiet
check "forecast: a loss that is not finite is a failure, and no wrong use" failed_with 'no epoch ended with a validation loss that is a number'
run forecast waves.csv --target flwo
check "forecast: refuses a column that is not there, and names the near one" refused 'flow'
run forecast waves.csv --target flow --look-back 300
check "forecast: refuses windows longer than the data" refused 'waves.csv'
run forecast waves.csv --target flow --season 300
check "forecast: refuses a season of which none is known, before it learns" refused 'season is 300'
head -n 61 waves.csv >few.csv
run forecast few.csv --target flow --look-back 5 --horizon 12
check "forecast: refuses a test of too few forecasts, before it learns" refused 'at least 8 are needed'
printf 'a\n1\n2\nx\n' >letters.csv
run forecast letters.csv
check "forecast: refuses a cell that is no number, and names its line" refused 'line 4'

printf 'a\n1\ninf\n3\n' >infinite.csv
for program in forecast tune; do
  run $program infinite.csv
  check "$program: refuses a number that is not finite" refused "^$program: infinite.csv: row 2 of column 'a' is inf: every number must be finite"
done
head -n 2 letters.csv >short.csv
run forecast short.csv
check "forecast: names the file that is too short" refused '^forecast: short.csv: \[split_in_time\]'

run tune waves.csv --target flow --look-back 12 --horizon 3 --epochs 3 --search random --trials 4 --log all.jsonl --quiet
check "tune: tries all" ended '"trials":4,'
tail -n 1 stdout >whole
eval "next() { \"\$build\"/$(sed -n '/^Try next/{n;s/^ *//;p;}' stdout) --quiet; }"
next >stdout 2>stderr
status=$?
check "tune: the command that it says is next forecasts the same column and rows" \
  sh -c "grep -q \"flow\" stdout && grep -q '\"rmse_by_step\":\[[^],]*,[^],]*,[^],]*\]' stdout"
run tune waves.csv --target flow --look-back 12 --horizon 3 --epochs 1 --search random --trials 1 --folds 30 --log folds.jsonl --quiet
check "tune: as many folds as were asked for" ended '"folds":30,'
run tune waves.csv --target flow --look-back 12 --horizon 3 --folds 100 --log many.jsonl
check "tune: refuses folds that are shorter than a forecast" refused '--folds 100 leaves 1 rows to judge each: --horizon 3'
run tune waves.csv --target flow --look-back 12 --horizon 3 --epochs 1 --search random --trials 1 --job 2/2 --log none.jsonl --quiet
check "tune: without a result of a trial, it fails" failed_with '^MISSED: no trial has a result'
check "tune: and says how many there are" grep -q '^result {"program":"tune","trials":0,' stdout
check "tune: a line of JSON for each" test "$(grep -c '^{"trial":' all.jsonl)" = 4
head -n 2 all.jsonl >some.jsonl
printf '{"trial":3,"hid' >>some.jsonl  # as a program that was killed leaves it
run tune waves.csv --target flow --look-back 12 --horizon 3 --epochs 3 --search random --trials 4 --log some.jsonl --quiet
tail -n 1 stdout >resumed
check "tune: killed and resumed, finds the same best" same whole resumed
for job in 1 2; do
  run tune waves.csv --target flow --look-back 12 --horizon 3 --epochs 3 --search random --trials 4 --log shared.jsonl --job $job/2 --quiet
done
tail -n 1 stdout >divided
check "tune: two jobs find the same best" same whole divided
SLURM_ARRAY_TASK_ID=3 SLURM_ARRAY_TASK_MIN=2 SLURM_ARRAY_TASK_COUNT=2 "$build/tune" waves.csv --target flow --look-back 12 \
  --horizon 3 --epochs 3 --search random --trials 4 --log slurm.jsonl --quiet >stdout 2>stderr
check "tune: a task of Slurm's array does its share" test "$(cut -c 1-11 slurm.jsonl | tr -d '\n')" = '{"trial":2,{"trial":4,'
SLURM_ARRAY_TASK_ID=3 SLURM_ARRAY_TASK_MIN=1 SLURM_ARRAY_TASK_COUNT=2 SLURM_ARRAY_TASK_STEP=2 "$build/tune" waves.csv \
  --target flow --look-back 12 --horizon 3 --epochs 3 --search random --trials 4 --log step.jsonl --quiet >stdout 2>stderr
check "tune: and one of an array with a step" test "$(cut -c 1-11 step.jsonl | tr -d '\n')" = '{"trial":2,{"trial":4,'
sed '1s/"trial":1,/"trial":5000000,/' all.jsonl >odd.jsonl
run tune waves.csv --target flow --look-back 12 --horizon 3 --epochs 3 --search random --trials 4 --log odd.jsonl --quiet
tail -n 1 stdout >resumed
check "tune: does not count a trial that there is not" same whole resumed
sed "1s/flow/fl$(printf '\366')w/" waves.csv >latin1.csv
run tune latin1.csv --target "fl$(printf '\366')w" --look-back 12 --horizon 3 --epochs 1 --search random --trials 1 --log latin1.jsonl --quiet
check "tune: knows its log again, though a column's name is not UTF-8" ended '"trials":1,'
run tune waves.csv --target flow --job 2/-1
check "tune: refuses a negative number of jobs" refused '2/-1 is not I/N'
run tune waves.csv --target flow --log all.jsonl
check "tune: refuses a log of another search" refused 'all.jsonl: has results of another search'
mkdir -p changed
sed '2s/,9/,8/' waves.csv >changed/waves.csv
run tune changed/waves.csv --target flow --look-back 12 --horizon 3 --epochs 3 --search random --trials 4 --log all.jsonl --quiet
check "tune: refuses a log of another file of that name" refused 'all.jsonl: has results of another search'
run tune far_from_0.csv --look-back 12 --horizon 3 --epochs 1 --search random --trials 1 --log far.jsonl --quiet
sed '2s/\.0/.1/' far_from_0.csv >changed/far_from_0.csv
run tune changed/far_from_0.csv --look-back 12 --horizon 3 --epochs 1 --search random --trials 1 --log far.jsonl --quiet
check "tune: whose digits differ, though not as float32" refused 'far.jsonl: has results of another search'
run tune waves.csv --target flow --job 2/18446744073709551615
check "tune: refuses more jobs than it can count" refused '2/18446744073709551615 is not I/N'
cp "$build/tune" running  # a program that runs cannot be written to, not even by root
./running waves.csv --target flow --look-back 12 --horizon 3 --log running >stdout 2>stderr
status=$?
check "tune: refuses a log that cannot be appended to, before it learns" refused '^tune: --log: running: cannot be appended to: '
run tune waves.csv --target flow --job 3/2
check "tune: refuses a job that there is not" refused '3/2 is not I/N'

# A language of ten words in a fixed order, now and then broken.
sentences() {
  awk -v lines="$1" 'BEGIN { for (i = 0; i < lines; ++i) { line = ""; for (k = 0; k < 10; ++k) {
    x = (x * 69069 + 1) % 65536; line = line " w" (x % 11 == 0 ? x % 10 : k) } print line } }'
}
mkdir -p language
sentences 300 >language/ptb.train.txt
sentences 40 >language/ptb.valid.txt
sentences 30 >language/ptb.test.txt
small='--hidden 16 --epochs 4 --seconds 0 --lr 0.01 --batch 5 --quiet'
# shellcheck disable=SC2086  # $small is a list of options
{
  run word_lm --data language $small
  check "word_lm: learns the order of words" result '"perplexity_test"' '< 3'
  check "word_lm: prints the baseline, and who wins" grep -q 'gram: .*: the .* wins$' stdout
  check "word_lm: no state is left when it is done" test ! -e word_lm.state
  sed 's/"seconds":[^,]*,//' stdout | tail -n 1 >whole
  rm -f stderr
  "$build/word_lm" --data language --hidden 16 --epochs 4 --seconds 0 --lr 0.01 --batch 5 >stdout 2>stderr &
  until [ -s stderr ]; do sleep 0.01; done  # its first step is done
  kill -s INT $!
  wait $!
  status=$?
  check "word_lm: Ctrl-C keeps what was learned" test "$status" = 130 -a -e word_lm.state
  check "word_lm: and says how to go on" grep -q 'the same command goes on from word_lm.state' stderr
  cp word_lm.state kept.state
  run word_lm --data language $small --seed 2
  check "word_lm: refuses to go on with other options" \
    refused "^word_lm: give another --state, or remove it to start afresh: .* options is 'seed 1, .* in the file but 'seed 2, "
  mkdir -p language_2
  cp language/*.txt language_2
  sed '1s/w1/w2/' language/ptb.train.txt >language_2/ptb.train.txt
  run word_lm --data language_2 $small
  check "word_lm: or with another text" refused "train is '[0-9]*' in the file but '"
  check "word_lm: and leaves the state as it was" same word_lm.state kept.state
  run word_lm --data language $small
  check "word_lm: goes on where it was" grep -q 'goes on from word_lm.state, after step' stderr
  sed 's/"seconds":[^,]*,//' stdout | tail -n 1 >resumed
  check "word_lm: and ends with the same result" same whole resumed
  "$build/word_lm" --data language $small >&- 2>stderr
  status=$?
  check "word_lm: a result that could not be printed is no reason to lose what was learned" test "$status" = 1 -a -e word_lm.state
  run word_lm --data language $small
  sed 's/"seconds":[^,]*,//' stdout | tail -n 1 >again
  check "word_lm: which the next run prints" same whole again
}
printf 'no state' >bad.state
run word_lm --data language --state bad.state
check "word_lm: refuses a state that is none" refused 'bad.state'
mkdir -p untested
cp language/ptb.train.txt language/ptb.valid.txt untested
printf '\n' >untested/ptb.test.txt
run word_lm --data untested --state untested.state
check "word_lm: refuses an empty test, before it learns" refused 'untested/ptb.test.txt: has no words'
run word_lm
check "word_lm: without data, says which and from where" refused 'ptb.train.txt.*https://github.com'

mkdir -p languages
awk 'BEGIN { for (i = 0; i < 60; ++i) { x = (x * 69069 + 1) % 65536; print "an" substr("aeiou", 1 + x % 5, 1) "ski" i % 7 } }' >languages/a.txt
awk 'BEGIN { for (i = 0; i < 60; ++i) { x = (x * 69069 + 1) % 65536; print "o" substr("bdfgk", 1 + x % 5, 1) "ato" i % 7 } }' >languages/b.txt
run classify --data languages --hidden 16 --embed 8 --epochs 10 --batch 8 --lr 0.01 --quiet
check "classify: tells made languages" ended '"accuracy":1.0,'
check "classify: prints scores of each class, and who wins" \
  sh -c 'grep -q "^a  *1.000  *1.000  *1.000  *18$" stdout && grep -q "naive Bayes on runs of .*: neither wins$" stdout'
sed 's/"seconds":[^,]*,//' stdout | tail -n 1 >first
run classify --data languages --hidden 16 --embed 8 --epochs 10 --batch 8 --lr 0.01 --threads 1 --quiet
sed 's/"seconds":[^,]*,//' stdout | tail -n 1 >second
check "classify: the same seed, the same result, whatever the threads" same first second
awk 'BEGIN { print "label\ttext"; for (i = 0; i < 90; ++i) { x = (x * 69069 + 1) % 65536
  print (i % 3 ? "ham:a" : "spam:b") "\t" (i % 3 ? "see you at " : "win a prize ") x % 40 } }' >messages
run classify --data messages --header --label-end : --unit words --hidden 8 --embed 8 --epochs 8 --lr 0.02 --quiet
check "classify: words of labelled lines" ended '"classes":2,'
run classify --data messages --header --label-end : --unit words --hidden 1 --epochs 1 --lr 1e-9 --dropout 0.9 --quiet
check "classify: a bound that is missed is exit status 1" failed_with '^MISSED: '
awk 'BEGIN { for (i = 0; i < 30; ++i) print (i % 3 ? "a\twell " i % 5 : "b\t  ") }' >spaces
run classify --data spaces --unit words --hidden 8 --embed 8 --epochs 20 --batch 2 --lr 0.02 --quiet
check "classify: a text without words is one, too" ended '"accuracy":1.0,'
tail -n 20 messages >unseen
run classify --data messages --header --label-end : --test unseen --unit words --hidden 8 --embed 8 --epochs 8 --lr 0.02 --quiet
check "classify: a file of its own tests" grep -q '19 to test' stdout
run classify --data messages --separator space
check "classify: refuses lines without separator" refused "messages, line 1: has no ' ' between label and text"
mkdir -p languages_unseen
head -n 20 languages/b.txt >languages_unseen/b.txt
tail -n 20 languages/b.txt >languages_unseen/c.txt
run classify --data languages --test languages_unseen
check "classify: refuses a folder to test with a class that was not learnt" refused "the class 'c' is none of the 2 given: is it a, b?"
mkdir -p three two
for class in a b; do cp languages/$class.txt two/; cp languages/$class.txt three/; done
sed 's/an/zz/' languages/a.txt >three/0.txt
run classify --data three --test two --hidden 16 --embed 8 --epochs 10 --batch 8 --lr 0.01 --quiet
check "classify: a folder to test may lack a class" grep -q '^0  *[01].000  *0.000  *0.000  *0$' stdout
check "classify: and the others are told apart" result '"accuracy"' '> 0.9'
run classify --data messages --header --label-end : --test none --unit words
check "classify: names the option whose file it cannot read" refused '^classify: --test is to be .*none: cannot open'
sed 's/^ham/eggs/' unseen >strange
run classify --data messages --header --label-end : --test strange --unit words
check "classify: refuses a class to test that was not learnt" refused "the class 'eggs' is none of the 2 given: is it ham, spam?"
sed 's/at/\xe4/' unseen >latin1
run classify --data messages --header --label-end : --test latin1
check "classify: of a text that is no UTF-8, names file, class and cure" \
  refused "^classify: latin1: --unit words takes any text; class 'ham':"
run classify --data messages --label-end : --unit words
check "classify: of a class with too few texts, says which" refused "^classify: messages: class 'label' has 1 texts for 3 parts: .*--header"
grep ham messages >one_class
run classify --data one_class --label-end :
check "classify: refuses one class only" refused 'two classes at least'
run classify
check "classify: without data, says which and from where" refused 'a folder with a file for each class.*https://'

run short_names languages
check "short_names: tells made languages" grep -q '^accuracy 1' stdout
(sed 's/flow/Sunspots/; s/^[0-9]*,//; s/row,//' waves.csv) >spots.csv
run short_sunspots spots.csv
check "short_sunspots: reports" grep -q '^Residuals one step ahead' stdout
# rmse_below SHARE FIGURE: the last result's RMSE is below this share of another of its figures. Which epoch is the best in
# validation, and so the last per cents, depends on the instruction set.
rmse_below() {
  awk -v share="$1" -v name="\"$2\":" '/^result/ {
    match($0, /"rmse":[0-9.]*/); a = substr($0, RSTART + 7, RLENGTH - 7)
    match($0, name "[0-9.]*"); b = substr($0, RSTART + length(name), RLENGTH - length(name)); exit !(a < share * b) }' stdout
}
skip "forecast: a tenth better than persistence on the real sunspots" timeseries/monthly-sunspots.csv || {
  run forecast "$data/timeseries/monthly-sunspots.csv" --season 132 --quiet
  check "forecast: a tenth better than persistence on the real sunspots" rmse_below 0.9 baseline
  run forecast "$data/timeseries/daily-min-temperatures.csv" --season 365 --quiet
  check "forecast: and not worse than an autoregression by more than 2 % on the real temperatures" rmse_below 1.02 autoregression
}
skip "short_names: 83 % of the real names" names/Arabic.txt || {
  run short_names "$data/names"
  check "short_names: 83 % of the real names" awk '/^accuracy/ { exit !($2 >= 0.83) }' stdout
}
skip "classify: the real questions, better than naive Bayes" trec/TREC.train || {
  run classify --data "$data/trec/TREC.train" --test "$data/trec/TREC.test" --separator space --label-end : --unit words --quiet
  check "classify: the real questions, better than naive Bayes" grep -q ': the LSTM wins$' stdout
}
skip "classify: the real messages" sms_spam/SMSSpamCollection || {
  run classify --data "$data/sms_spam/SMSSpamCollection" --header --unit words --epochs 2 --quiet
  check "classify: the real messages" result '"f1"' '> 0.9'
}
skip "word_lm: some of the real words" ptb/ptb.train.txt || {
  mkdir -p some
  head -n 2000 "$data/ptb/ptb.train.txt" >some/ptb.train.txt
  head -n 200 "$data/ptb/ptb.valid.txt" >some/ptb.valid.txt
  head -n 200 "$data/ptb/ptb.test.txt" >some/ptb.test.txt
  run word_lm --data some --hidden 32 --epochs 3 --seconds 0 --lr 0.02 --quiet
  check "word_lm: some of the real words" ended '"perplexity_test"'
}
