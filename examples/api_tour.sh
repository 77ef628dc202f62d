#!/usr/bin/env bash
# The whole API, call by call, against a running Spoke: make run, then examples/api_tour.sh
# Every call states the status that it expects; the first surprise ends the tour.
# Needs bash, curl and python3. DEMO_ENV names another file than .local/demo.env.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=/dev/null
. "${DEMO_ENV:-.local/demo.env}"

BODY=$(mktemp) HEADERS=$(mktemp)
trap 'rm -f "$BODY" "$HEADERS"' EXIT
CALLS=0
AS=$TOKEN
NAME="tour-$(date +%s)-$$"

heading() { printf '\n== %s\n' "$*"; }

# call STATUS METHOD PATH [JSON [CURL OPTIONS...]]: as $AS, or as nobody when AS is empty. STATUS may
# name several, as 402|501; which it was is in $STATUS then.
call() {
  local expected=$1 method=$2 path=$3 json=${4-}
  shift $(($# < 4 ? $# : 4))
  local options=(-sS -X "$method" -o "$BODY" -D "$HEADERS" -w '%{http_code}')
  [ -n "$AS" ] && options+=(-H "Authorization: Bearer $AS")
  [ -n "$json" ] && options+=(-H 'Content-Type: application/json' --data-binary "$json")
  STATUS=$(curl "${options[@]}" "$@" "$API_URL$path")
  CALLS=$((CALLS + 1))
  printf '%s %-6s %s\n' "$STATUS" "$method" "$path"
  if [ -z "${QUIET-}" ] && [ -s "$BODY" ]; then
    head -c 400 "$BODY" | sed 's/^/      /'
    echo
  fi
  if [[ ! $STATUS =~ ^($expected)$ ]]; then
    printf 'Expected %s.\n' "$expected" >&2
    cat "$BODY" >&2
    exit 1
  fi
}

# field EXPRESSION: of the last answer, as Python sees it in `a`.
field() { python3 -c 'import json, sys; a = json.load(open(sys.argv[1])); print(eval(sys.argv[2]))' "$BODY" "$1"; }
header() { tr -d '\r' <"$HEADERS" | awk -F ': ' -v name="$1" 'tolower($1) == tolower(name) {print $2}'; }
# expect EXPRESSION VALUE
expect() {
  local got
  got=$(field "$1")
  [ "$got" = "$2" ] || { printf 'Expected %s to be %s, got %s\n' "$1" "$2" "$got" >&2; exit 1; }
}

heading "Health, the plans and who I am"
AS=""
call 200 GET /health/live
call 200 GET /health/ready
call 200 GET /plans
call 200 GET /plans/pro
call 401 GET /orgs
AS=$TOKEN
call 200 GET /me
expect 'a["is_staff"]' False

heading "Create an organization; the same key creates it once"
CREATE="{\"name\": \"$NAME\", \"display_name\": \"Tour\", \"plan_tier\": \"pro\"}"
call 201 POST /orgs "$CREATE" -H "Idempotency-Key: $NAME"
ORG=$(field 'a["id"]')
AT=$(field 'a["created_at"]') # by Spoke's clock, which fake_stripe may have turned on
expect 'a["plan_tier"]' free
expect 'a["next_step"]["url"]' "/orgs/$ORG/subscription"
call 201 POST /orgs "$CREATE" -H "Idempotency-Key: $NAME"
[ "$(header Idempotency-Replayed)" = true ]
call 422 POST /orgs '{"name": "another"}' -H "Idempotency-Key: $NAME"
call 409 POST /orgs "$CREATE"
call 200 GET /orgs

heading "Read and change it; a change based on an old reading is refused"
call 200 GET "/orgs/$NAME"
ETAG=$(header ETag)
call 200 PATCH "/orgs/$ORG" '{"description": "Made by the tour"}' -H "If-Match: $ETAG"
call 412 PATCH "/orgs/$ORG" '{"description": "Too late"}' -H "If-Match: $ETAG"
call 400 PATCH "/orgs/$ORG" '{"name": "other"}'

heading "Limits and usage of the free plan"
call 200 GET "/orgs/$ORG/quotas"
expect 'a["max_modules"]' 5
[ "$(header X-RateLimit-Limit)" = 1000 ]
call 200 GET "/orgs/$ORG/usage"

heading "Invite somebody, who accepts with an account of their own"
call 201 POST "/orgs/$ORG/invitations" "{\"email\": \"$SECOND_USER_EMAIL\", \"role\": \"viewer\"}"
INVITATION=$(field 'a["id"]')
call 409 POST "/orgs/$ORG/invitations" "{\"email\": \"$SECOND_USER_EMAIL\", \"role\": \"viewer\"}"
call 200 POST "/orgs/$ORG/invitations/$INVITATION/resend"
SECRET=$(field 'a["token"]')
AS=""
call 200 GET "/invitations/$SECRET"
AS=$OUTSIDER_TOKEN
call 403 POST "/invitations/$SECRET/accept"
AS=$SECOND_USER_TOKEN
call 404 GET "/orgs/$ORG"
call 200 POST "/invitations/$SECRET/accept"
call 410 POST "/invitations/$SECRET/accept"
call 200 GET "/orgs/$ORG"
expect 'a["role"]' viewer
call 403 POST "/orgs/$ORG/modules" '{"name": "mine"}'
call 200 GET /me
SECOND=$(field 'a["id"]')

heading "Members and roles"
AS=$TOKEN
call 200 GET "/orgs/$ORG/members"
call 200 PATCH "/orgs/$ORG/members/$SECOND" '{"role": "developer"}'
call 200 POST "/orgs/$ORG/members/bulk" \
  "{\"mode\": \"per_row\", \"operations\": [{\"op\": \"change\", \"user_id\": $SECOND, \"role\": \"admin\"}, {\"op\": \"remove\", \"user_id\": 999999999}]}"
expect 'a["failed"]' 1
call 201 POST "/orgs/$ORG/transfer" "{\"user_id\": $SECOND}"
call 200 GET "/orgs/$ORG/transfer"
call 204 DELETE "/orgs/$ORG/transfer"

heading "A service token for a pipeline; revoked, it stops at once"
call 201 POST "/orgs/$ORG/tokens" '{"name": "ci", "role": "developer", "scopes": ["read"]}'
SERVICE=$(field 'a["token"]') SERVICE_ID=$(field 'a["id"]')
AS=$SERVICE
call 200 GET "/orgs/$ORG"
call 403 POST "/orgs/$ORG/modules" '{"name": "robots"}'
expect 'a["code"]' insufficient_scope
AS=$TOKEN
call 200 GET "/orgs/$ORG/tokens"
call 204 DELETE "/orgs/$ORG/tokens/$SERVICE_ID"
AS=$SERVICE
call 401 GET "/orgs/$ORG"

heading "Modules, up to the limit: the sixth is refused"
AS=$TOKEN
for number in 1 2 3 4 5; do
  call 201 POST "/orgs/$ORG/modules" "{\"name\": \"module-$number\", \"description\": \"\", \"is_public\": false}"
done
call 403 POST "/orgs/$ORG/modules" '{"name": "module-6"}'
expect 'a["error"], a["resource"], a["current"], a["limit"]' "('quota_exceeded', 'modules', 5, 5)"
call 200 PATCH "/orgs/$ORG/modules/module-1" '{"description": "The first"}'
call 200 GET "/orgs/$ORG/modules?search=module"

heading "Versions and their files"
PUSH='{"version": "1.0.0", "files": [{"path": "acme/v1/user.proto", "content": "syntax = \"proto3\";\npackage acme.v1;\nmessage User { string id = 1; }\n"}]}'
call 201 POST "/orgs/$ORG/modules/module-1/versions" "$PUSH"
call 409 POST "/orgs/$ORG/modules/module-1/versions" "$PUSH"
call 200 GET "/orgs/$ORG/modules/module-1/versions"
call 200 GET "/orgs/$ORG/modules/module-1/versions/latest"
call 200 GET "/orgs/$ORG/modules/module-1/versions/1.0.0/files/acme/v1/user.proto"
call 200 GET "/orgs/$ORG/usage"
expect 'a["modules_count"], a["versions_count"]' "(5, 1)"
call 200 GET "/orgs/$ORG/usage/history"
call 200 GET "/orgs/$ORG/usage/history?granularity=hour&resource=modules"

heading "A data plane reports what it used: each key once, each event for itself"
event() { printf '{"idempotency_key": "%s", "meter": "%s", "quantity": %s, "timestamp": "%s"}' "$1" "$2" "$3" "$AT"; }
EVENTS="{\"events\": [$(event a compile_seconds 1.5), $(event b compile_jobs 2), $(event a compile_seconds 9), $(event c compile_jobs -1), $(event d walks 1)]}"
call 200 POST "/orgs/$ORG/usage/events" "$EVENTS"
expect 'a["accepted"], a["duplicates"], a["rejected"]' "(2, 1, 2)"
expect '[r["code"] for r in a["results"]]' "['duplicate', 'negative_quantity', 'unknown_meter']"
call 200 POST "/orgs/$ORG/usage/events" "$EVENTS"
expect 'a["accepted"], a["duplicates"]' "(0, 3)"
call 200 GET "/orgs/$ORG/usage"
expect 'a["compile_jobs_count"]' 2
call 200 GET "/orgs/$ORG/usage/meters?meter=compile_seconds"

heading "A build asks, reserves, and commits what it used"
call 200 POST "/orgs/$ORG/quotas/check" '{"resource": "compile_jobs", "amount": 99}'
expect 'a["allowed"], a["current"], a["reason"]' "(False, 2, 'quota_exceeded')"
call 201 POST "/orgs/$ORG/quotas/reservations" '{"resource": "compile_jobs", "amount": 3, "expires_in": 600}'
HOLD=$(field 'a["id"]')
call 200 POST "/orgs/$ORG/quotas/reservations/$HOLD/commit" '{"amount": 2}'
expect 'a["state"], a["amount"]' "('committed', 2)"
call 409 POST "/orgs/$ORG/quotas/reservations/$HOLD/release"
call 200 GET "/orgs/$ORG/quotas/reservations"
call 200 GET "/orgs/$ORG/usage"
expect 'a["compile_jobs_count"]' 4

heading "The version is compiled in the background; the same again costs nothing"
COMPILE="/orgs/$ORG/modules/module-1/versions/latest/compile"
call 400 POST "$COMPILE" '{"language": "java", "grpc": true}'
expect 'a["errors"][0]["field"]' grpc
call 202 POST "$COMPILE" '{"language": "python", "grpc": true}'
JOB=$(header Location)
for _ in $(seq 120); do
  QUIET=1 call 200 GET "$JOB"
  case $(field 'a["status"]') in queued | running) sleep 0.5 ;; *) break ;; esac
done
call 200 GET "$JOB"
expect 'a["status"], a["error"], a["artifact"]["files"]' "('succeeded', None, 3)"
QUIET=1 call 200 GET "$JOB/artifact"
python3 -c 'import sys, zipfile; print("     ", *zipfile.ZipFile(sys.argv[1]).namelist())' "$BODY"
call 200 POST "$COMPILE" '{"language": "python", "grpc": true}'
expect 'a["cached"]' True
call 409 POST "$JOB/cancel"
call 200 GET "$COMPILE?status=succeeded"
expect 'len(a["results"])' 2
call 200 GET "/orgs/$ORG/usage"
expect 'a["compile_jobs_count"]' 5

heading "What this month comes to"
call 200 GET "/orgs/$ORG/invoices/upcoming"
expect 'a["currency"], a["amount_cents"], a["lines"]' "('usd', 0, [])"
call 200 GET "/orgs/$ORG/invoices"
expect 'a["results"]' "[]"
call 404 GET "/orgs/$ORG/subscription"
expect 'a["code"]' no_subscription

heading "Alerts of usage, and a budget for overage"
call 200 GET "/orgs/$ORG/alerts"
call 200 PUT "/orgs/$ORG/alerts" '{"thresholds": {"modules": [75, 100]}}'
expect 'a["thresholds"]["modules"]' "[75, 100]"
call 200 PUT "/orgs/$ORG/budget" '{"amount_cents": 2000, "action": "block"}'
call 200 GET "/orgs/$ORG/budget"
expect 'a["spend"]["amount_cents"]' 0
call 400 PUT "/orgs/$ORG/budget" '{"amount_cents": -1}'

heading "Staff raise a limit; then the sixth module fits"
call 403 PATCH "/orgs/$ORG/quotas" '{"max_modules": 6}'
AS=$ADMIN_TOKEN
call 200 PATCH "/orgs/$ORG/quotas" '{"max_modules": 6, "reason": "The tour asked"}'
AS=$TOKEN
call 201 POST "/orgs/$ORG/modules" '{"name": "module-6"}'
call 204 DELETE "/orgs/$ORG/modules/module-6"

heading "What happened, newest first, and as a file"
call 200 GET "/orgs/$ORG/audit-log?limit=3"
call 200 GET "/orgs/$ORG/audit-log?action=module."
call 200 GET "/orgs/$ORG/audit-log/export?format=csv"

heading "Bad input is refused by name; outsiders see nothing"
call 400 POST /orgs '{"name": "ok-name", "colour": "red"}'
expect 'a["errors"][0]["field"]' colour
call 400 POST /orgs '{"name": "a\u0000b"}'
call 400 POST /orgs '{"name": '
AS=$OUTSIDER_TOKEN
for path in "" /members /modules /usage /quotas /audit-log; do call 404 GET "/orgs/$ORG$path"; done

heading "Pay by card, where Stripe or what stands in for it is there"
AS=$TOKEN
call '402|501' POST "/orgs/$ORG/subscription" '{"plan": "pro", "payment_method_id": "pm_card_chargeDeclined"}'
if [ "$STATUS" = 501 ]; then
  expect 'a["code"]' billing_not_available
else
  expect 'a["code"]' card_declined
  call 201 POST "/orgs/$ORG/subscription" '{"plan": "pro", "payment_method_id": "pm_card_visa"}'
  expect 'a["status"]' active
  call 200 GET "/orgs/$ORG/subscription"
  call 200 POST "/orgs/$ORG/subscription/preview" '{"plan": "enterprise"}'
  call 200 GET "/orgs/$ORG/payment-methods"
  call 200 GET "/orgs/$ORG/invoices/upcoming"
  call 200 POST "/orgs/$ORG/subscription/cancel" '{"immediately": true}'
  expect 'a["status"]' canceled
fi

heading "A month of the demo organization"
call 200 GET "/orgs/$ORG_ID/usage"
call 200 GET "/orgs/$ORG_ID/usage/history"
call 200 GET "/orgs/$ORG_ID/usage/meters?granularity=day"
call 200 GET "/orgs/$ORG_ID/budget"

heading "Close it: nothing can be written, and its owner can reopen it for 30 days"
call 200 DELETE "/orgs/$ORG"
expect 'a["status"]' closed
call 403 POST "/orgs/$ORG/modules" '{"name": "late"}'
call 200 POST "/orgs/$ORG/reopen"
call 200 DELETE "/orgs/$ORG"

printf '\nThe tour is over: %s calls, each as expected.\n' "$CALLS"
