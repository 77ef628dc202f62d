-- One governed request: check the hourly limit, count the request against it and for the flush.
--
-- KEYS[1]  the limiter's state        KEYS[2]  the requests of the shard that await the flush (optional)
-- ARGV[1]  limit; -1: unlimited       ARGV[2]  organization, the field's prefix in KEYS[2]
-- ARGV[3]  microseconds since the epoch; '': the server's clock
-- ARGV[4]  '1': count; '0': only look
-- Returns {allowed, remaining (-1: unlimited), microseconds until more is allowed, counted in the hour}.
--
-- State: header (newest minute, oldest minute, total), then 61 slots (count, time of its last request
-- within its minute) in a ring by minute; 500 bytes.

local MINUTE, WINDOW, SLOTS = 60000000, 3600000000, 61
local HEADER, SLOT = 12, 8
local EMPTY = string.rep('\0', SLOT)

local limit = tonumber(ARGV[1])
local counting = ARGV[4] == '1'
local wall
if ARGV[3] == '' then
  local time = redis.call('TIME')
  wall = time[1] * 1000000 + time[2]
else
  wall = tonumber(ARGV[3])
end
local now = wall
local minute = math.floor(now / MINUTE)

local state = redis.call('GET', KEYS[1])
local newest, oldest, total

local function place(at_minute)
  return HEADER + (at_minute % SLOTS) * SLOT
end
local function slot(at_minute)
  return struct.unpack('>I4I4', state, place(at_minute) + 1)
end
local function put(at_minute, packed)
  local at = place(at_minute)
  state = string.sub(state, 1, at) .. packed .. string.sub(state, at + SLOT + 1)
end
local function restart()
  state = string.rep('\0', HEADER + SLOTS * SLOT)
  newest, oldest, total = minute, minute, 0
end
local function keep()
  state = struct.pack('>I4I4I4', newest, oldest, total) .. string.sub(state, HEADER + 1)
  redis.call('SET', KEYS[1], state, 'PX', math.ceil((WINDOW + now - wall) / 1000) + 1000)
end

if state then
  newest, oldest, total = struct.unpack('>I4I4I4', state)
  local _, within = slot(newest)
  local latest = newest * MINUTE + within
  if now < latest - WINDOW then
    -- The clock went back by more than an hour: all that is counted is taken to be from now, or it
    -- would stay until the clock has caught up.
    local kept = total
    restart()
    total = kept
    put(minute, struct.pack('>I4I4', total, now % MINUTE))
    keep()
  elseif now < latest then
    -- It went back a little: time stands still until it has caught up, so nothing leaves too early.
    now = latest
    minute = newest
  end
else
  restart()
end

-- A slot leaves, whole, once its last request is an hour old.
while total > 0 do
  local count, within = slot(oldest)
  if count > 0 and oldest * MINUTE + within > now - WINDOW then break end
  total = total - count
  oldest = oldest + 1
end
if total == 0 then restart() end

if limit >= 0 and total >= limit then
  local excess, wait = total - limit + 1, WINDOW
  for at_minute = oldest, newest do
    local count, within = slot(at_minute)
    excess = excess - count
    if excess <= 0 then
      wait = at_minute * MINUTE + within + WINDOW - wall
      break
    end
  end
  return {0, 0, wait, total}
end

if counting then
  local count = 0
  if minute == newest then
    count = slot(minute)
  else
    for passed = newest + 1, minute do put(passed, EMPTY) end
  end
  newest = minute
  total = total + 1
  put(minute, struct.pack('>I4I4', count + 1, now % MINUTE))
  keep()
  if KEYS[2] then
    local field = ARGV[2] .. ':' .. (math.floor(wall / WINDOW) * 3600)
    if redis.call('HINCRBY', KEYS[2], field, 1) == 1 then
      -- The batch is named before it is claimed, so that readers know it by one name for ever.
      local time = redis.call('TIME')
      redis.call('HSETNX', KEYS[2], 'generation', time[1] .. '.' .. time[2])
    end
  end
end

local wait = WINDOW
if total > 0 then
  local _, within = slot(oldest)
  wait = oldest * MINUTE + within + WINDOW - wall
end
if limit < 0 then return {1, -1, wait, total} end
return {1, limit - total, wait, total}
