-- Some fields of everything that awaits the flush, read at one moment.
-- KEYS[1]  the requests of the shard    KEYS[2]  the set of generations set aside    ARGV  fields
-- Returns {generation, {values}, generation, {values}, ...}.
local found = {}
local current = redis.call('HGET', KEYS[1], 'generation')
if current then
  found = {current, redis.call('HMGET', KEYS[1], unpack(ARGV))}
end
for _, generation in ipairs(redis.call('SMEMBERS', KEYS[2])) do
  found[#found + 1] = generation
  found[#found + 1] = redis.call('HMGET', KEYS[1] .. ':' .. generation, unpack(ARGV))
end
return found
