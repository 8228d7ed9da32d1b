-- Passes a message on to the nodes that it concerns. Returns how many they are.
--
-- KEYS: to a session: its holders. To a group: the nodes, the followers of the group. To all: the nodes.
-- ARGV: 1 `session`, `group` or `all`, 2 the epoch of the node that sends, 3 what the names of the channels of nodes begin
-- with, 4 the message.

local to, from, channel, message = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local count = 0

local function pass_on(epoch)
  if epoch ~= from then
    redis.call('PUBLISH', channel .. epoch, message)
    count = count + 1
  end
end

if to == 'group' then
  for _, epoch in ipairs(redis.call('SMEMBERS', KEYS[2])) do
    if redis.call('HEXISTS', KEYS[1], epoch) == 1 then pass_on(epoch) end
  end
else
  local all = redis.call('HGETALL', KEYS[1])
  for i = 1, #all, 2 do
    if to == 'session' then
      if string.match(all[i + 1], '^[1-9]') then pass_on(all[i]) end
    elseif string.match(all[i], '^%d+$') then
      pass_on(all[i])
    end
  end
end
return {'sent', string.format('%.0f', count)}
