-- Lets a node follow a group, or not any more. One that is dead is ignored.
--
-- KEYS: the nodes, the followers of the group, the groups that the node follows.
-- ARGV: 1 `follow` or `unfollow`, 2 the epoch of the node, 3 the name of the group.

if ARGV[1] == 'unfollow' then
  redis.call('SREM', KEYS[2], ARGV[2])
  redis.call('SREM', KEYS[3], ARGV[3])
elseif redis.call('HEXISTS', KEYS[1], ARGV[2]) == 1 then
  redis.call('SADD', KEYS[2], ARGV[2])
  redis.call('SADD', KEYS[3], ARGV[3])
end
return {'done'}
