-- One governed request: check the hourly limit, count the request against it and for the flush.
--
-- KEYS[1]  the limiter's state        KEYS[2]  the requests of the shard that await the flush (optional)
-- KEYS[3]  the organization's stamp (optional, with KEYS[2])
-- ARGV[1]  limit; -1: unlimited       ARGV[2]  organization, the field's prefix in KEYS[2]
-- ARGV[3]  microseconds since the epoch; '': the server's clock
-- ARGV[4]  '1': count; '0': only look
-- ARGV[5]  the stamp that what the caller remembers stands on, with KEYS[3]
-- Returns {allowed, remaining (-1: unlimited), microseconds until more is allowed, counted in the hour},
-- or {-1} where the stamp is another by now; then nothing is counted.
--
-- State: header (newest minute, oldest minute, total), then 61 slots (count, time of its last request
-- within its minute) in a ring by minute; 500 bytes.

local MINUTE, WINDOW, SLOTS = 60000000, 3600000000, 61
local HEADER, SLOT = 12, 8
local unpack_struct, pack, floor, sub = struct.unpack, struct.pack, math.floor, string.sub

if KEYS[3] and (redis.call('GET', KEYS[3]) or '') ~= ARGV[5] then return {-1} end

local limit = tonumber(ARGV[1])
local wall
if ARGV[3] == '' then
  local time = redis.call('TIME')
  wall = time[1] * 1000000 + time[2]
else
  wall = tonumber(ARGV[3])
end
local now = wall
local minute = floor(now / MINUTE)

local state = redis.call('GET', KEYS[1])
local newest, oldest, total, latest

local function fresh()
  newest, oldest, total = minute, minute, 0
  state = string.rep('\0', HEADER + SLOTS * SLOT)
end
-- Writes the header and one slot, and lets the state live until its last request is an hour old.
local function keep(count)
  local at = HEADER + minute % SLOTS * SLOT
  -- A number would be formatted with 17 digits, which takes longer than all else.
  local life = '3601000'
  if now ~= wall then life = string.format('%d', (WINDOW + now - wall) / 1000 + 1000) end
  redis.call('SET', KEYS[1], pack('>I4I4I4', newest, oldest, total) .. sub(state, HEADER + 1, at)
    .. pack('>I4I4', count, now % MINUTE) .. sub(state, at + SLOT + 1), 'PX', life)
end

if state then
  newest, oldest, total = unpack_struct('>I4I4I4', state)
  local _, within = unpack_struct('>I4I4', state, HEADER + newest % SLOTS * SLOT + 1)
  latest = newest * MINUTE + within
  if now < latest - WINDOW then
    -- The clock went back by more than an hour: all that is counted is taken to be from now, or it
    -- would stay until the clock has caught up.
    local kept = total
    fresh()
    total = kept
    keep(kept)
    state = redis.call('GET', KEYS[1])
  elseif now < latest then
    -- It went back a little: time stands still until it has caught up, so nothing leaves too early.
    now, minute = latest, newest
  end
else
  fresh()
end

-- A slot leaves, whole, once its last request is an hour old.
local leaves = now + WINDOW
while total > 0 do
  local count, within = unpack_struct('>I4I4', state, HEADER + oldest % SLOTS * SLOT + 1)
  if count > 0 then
    leaves = oldest * MINUTE + within + WINDOW
    if leaves > now then break end
  end
  total = total - count
  oldest = oldest + 1
end
if total == 0 then
  fresh()
  leaves = now + WINDOW
end

if limit >= 0 and total >= limit then
  local excess, wait = total - limit + 1, WINDOW
  for at_minute = oldest, newest do
    local count, within = unpack_struct('>I4I4', state, HEADER + at_minute % SLOTS * SLOT + 1)
    excess = excess - count
    if excess <= 0 then
      wait = at_minute * MINUTE + within + WINDOW - wall
      break
    end
  end
  return {0, 0, wait, total}
end

if ARGV[4] == '1' then
  local count = 0
  if minute == newest then
    count = unpack_struct('>I4', state, HEADER + minute % SLOTS * SLOT + 1)
  else
    for passed = newest + 1, minute do
      local at = HEADER + passed % SLOTS * SLOT
      state = sub(state, 1, at) .. string.rep('\0', SLOT) .. sub(state, at + SLOT + 1)
    end
    newest = minute
  end
  total = total + 1
  if oldest == newest then leaves = now + WINDOW end
  keep(count + 1)
  if KEYS[2] then
    local field = ARGV[2] .. ':' .. floor(wall / WINDOW) * 3600
    if redis.call('HINCRBY', KEYS[2], field, '1') == 1 then
      -- The batch is named before it is claimed, so that readers know it by one name for ever.
      local time = redis.call('TIME')
      redis.call('HSETNX', KEYS[2], 'generation', time[1] .. '.' .. time[2])
    end
  end
end
if limit < 0 then return {1, -1, leaves - wall, total} end
return {1, limit - total, leaves - wall, total}
