-- Sets the requests that await the flush aside under their generation's name, and names every
-- generation set aside and not yet written, leftovers of a killed flush among them.
-- KEYS[1]  the requests of the shard    KEYS[2]  the set of generations set aside
local generation = redis.call('HGET', KEYS[1], 'generation')
if generation then
  redis.call('RENAME', KEYS[1], KEYS[1] .. ':' .. generation)
  redis.call('SADD', KEYS[2], generation)
end
local names = redis.call('SMEMBERS', KEYS[2])
if not generation and #names > 0 then
  -- A write of this connection's own, so that waiting for it is waiting for whoever set these aside.
  redis.call('SADD', KEYS[2], 'seen')
  redis.call('SREM', KEYS[2], 'seen')
end
return names
