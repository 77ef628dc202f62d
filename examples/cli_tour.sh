#!/usr/bin/env bash
# The command line, command by command, against a running Spoke: make run, then examples/cli_tour.sh
# Every command states the exit code that it expects; the first surprise ends the tour.
# Needs bash and curl. DEMO_ENV names another file than .local/demo.env, PYTHON another than .venv's.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=/dev/null
. "${DEMO_ENV:-.local/demo.env}"
PYTHON=${PYTHON:-.venv/bin/python}

WORK=$(mktemp -d)
trap 'rm -rf "$WORK"' EXIT
export XDG_CONFIG_HOME=$WORK/config
unset SPOKE_TOKEN SPOKE_API_URL SPOKE_ORG
ORG="cli-$(date +%s)-$$"
COMMANDS=0

heading() { printf '\n== %s\n' "$*"; }

# spoke EXIT-CODE ARGUMENTS...: its stdout is kept in $OUT.
spoke() {
  local expected=$1 code=0
  shift
  printf '$ spoke %s\n' "$*"
  OUT=$("$PYTHON" -m spoke.cli "$@") || code=$?
  [ -z "$OUT" ] || head -c 800 <<<"$OUT" | sed 's/^/  /'
  COMMANDS=$((COMMANDS + 1))
  [ "$code" = "$expected" ] || { printf 'Expected %s, got %s.\n' "$expected" "$code" >&2; exit 1; }
}

# expect EXPRESSION VALUE: of the last JSON document, as Python sees it in `a`.
expect() {
  local got
  got=$(python3 -c 'import json, sys; a = json.load(sys.stdin); print(eval(sys.argv[1]))' "$1" <<<"$OUT")
  [ "$got" = "$2" ] || { printf 'Expected %s to be %s, got %s\n' "$1" "$2" "$got" >&2; exit 1; }
}

# The tour works in an organization of its own.
curl -fsS -o /dev/null -H "Authorization: Bearer $TOKEN" -H 'Content-Type: application/json' \
  -d "{\"name\": \"$ORG\", \"display_name\": \"Tour of the command line\"}" "$API_URL/orgs"

heading "Sign in"
spoke 3 whoami
spoke 3 login --api-url "$API_URL" --token spk_not_a_token
spoke 0 login --api-url "$API_URL" --token - <<<"$TOKEN"
spoke 0 whoami
spoke 0 orgs
spoke 0 orgs use "$ORG"

heading "Publish a folder; the same again is nothing to do, another content is refused"
mkdir -p "$WORK/money/acme/money/v1" "$WORK/pay/acme/pay/v1"
cat >"$WORK/money/acme/money/v1/money.proto" <<'PROTO'
syntax = "proto3";
package acme.money.v1;
message Money {
  string currency = 1;
  int64 minor = 2;
}
PROTO
cat >"$WORK/pay/acme/pay/v1/pay.proto" <<'PROTO'
syntax = "proto3";
package acme.pay.v1;
import "acme/money/v1/money.proto";
message Payment {
  string id = 1;
  acme.money.v1.Money amount = 2;
}
PROTO
printf 'drafts/\n' >"$WORK/pay/.spokeignore"
mkdir "$WORK/pay/drafts"
printf 'not even Protobuf\n' >"$WORK/pay/drafts/idea.proto"
spoke 0 modules create money --description "Amounts" --public
spoke 0 push money 1.0.0 "$WORK/money"
spoke 0 push money 1.0.0 "$WORK/money" --json
expect 'a["status"]' unchanged
spoke 1 push pay 1.0.0 "$WORK/pay" --dependency money@1.0.0
spoke 0 push pay 1.0.0 "$WORK/pay" --dependency money@1.0.0 --create
spoke 0 modules

heading "What does not compile is shown with file, line and column; links are not followed"
cp -r "$WORK/pay" "$WORK/broken"
sed -i.bak 's/string id/strnig id/' "$WORK/broken/acme/pay/v1/pay.proto"
spoke 1 push pay 1.1.0 "$WORK/broken" --dependency money@1.0.0 --json
expect 'a["error"]["code"], a["error"]["errors"][0]["line"]' "('invalid_proto', 5)"
ln -s /etc/passwd "$WORK/broken/passwd.txt"
spoke 2 push pay 1.1.0 "$WORK/broken"

heading "Try a change before it is made"
sed -i.bak '/string id/d' "$WORK/pay/acme/pay/v1/pay.proto"
spoke 0 push pay 2.0.0 "$WORK/pay" --dependency money@1.0.0 --dry-run --json
expect 'a["status"], len(a["version"]["breaking_changes"])' "('checked', 1)"
spoke 0 versions pay --json
expect '[v["version"] for v in a]' "['1.0.0']"

heading "Fetch it: what comes back is what was pushed"
spoke 0 pull money -o "$WORK/pulled"
diff -r "$WORK/money" "$WORK/pulled"
spoke 0 pull "$ORG/money@1.0.0" -o "$WORK/pulled"
printf '// mine\n' >>"$WORK/pulled/acme/money/v1/money.proto"
spoke 1 pull money -o "$WORK/pulled"
spoke 0 pull money -o "$WORK/pulled" --force
diff -r "$WORK/money" "$WORK/pulled"

heading "Generate code and use it; the same again comes from the cache"
spoke 0 compile pay@1.0.0 --language python --include-dependencies -o "$WORK/code"
PYTHONPATH="$WORK/code" "$PYTHON" - <<'CODE'
from acme.pay.v1.pay_pb2 import Payment

payment = Payment(id="p-1", amount={"currency": "usd", "minor": 1250})
assert Payment.FromString(payment.SerializeToString()) == payment
print(" ", payment.amount.minor, payment.amount.currency)
CODE
spoke 0 compile pay@1.0.0 -l python --include-dependencies -o "$WORK/code" --json
expect 'a["job"]["cached"], a["written"]' "(True, [])"
spoke 1 compile pay -l cobol

heading "What it used, and what it costs"
spoke 0 usage
spoke 0 usage --json
expect 'a["usage"]["modules_count"], a["usage"]["compile_jobs_count"], a["upcoming"]["amount_cents"]' "(2, 1, 0)"

heading "Beyond the plan"
for number in 3 4 5; do spoke 0 modules create "module-$number" --quiet; done
spoke 5 modules create module-6

heading "Sign out"
spoke 0 logout
spoke 3 usage

curl -fsS -o /dev/null -X DELETE -H "Authorization: Bearer $TOKEN" "$API_URL/orgs/$ORG"
printf '\nThe tour is over: %s commands, each as expected.\n' "$COMMANDS"
