-- The lease of a node: `enter`, `renew`, `retire`. Nodes whose lease has run out are removed.
--
-- KEYS: the nodes.
-- ARGV: 1 what to do, 2 the epoch or the name of the node, 3 how long the lease is, in microseconds, 4 what the names of
-- groups begin with, 5 what the names of what nodes follow begin with.
--
-- Nodes are a hash: for each epoch `UNTIL NAME`, `last` is the last epoch, and for each epoch that is dead and still has groups,
-- `dead:EPOCH`. UNTIL is in microseconds since 1970.

-- From how many groups at most a dead node is removed at a time.
local AT_ONCE = 100

-- After a write that needs no memory, the engine refuses none in this script: nodes that are alive stay so, also if its memory
-- is full.
redis.call('HDEL', KEYS[1], '')

local nodes, step, who, lease = KEYS[1], ARGV[1], ARGV[2], tonumber(ARGV[3])
local groups, follows = ARGV[4], ARGV[5]

local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]

local function decimal(value) return string.format('%.0f', value) end

local function remove(epoch)
  redis.call('HDEL', nodes, epoch)
  if redis.call('EXISTS', follows .. epoch) == 1 then
    redis.call('HSET', nodes, 'dead:' .. epoch, '')
  end
end

local function leave_groups(epoch)
  local left = redis.call('SPOP', follows .. epoch, AT_ONCE)
  for _, group in ipairs(left) do redis.call('SREM', groups .. group, epoch) end
  if #left < AT_ONCE then redis.call('HDEL', nodes, 'dead:' .. epoch) end
end

if step == 'retire' then
  remove(who)
  return {'done'}
end

local last = tonumber(redis.call('HGET', nodes, 'last') or '0')
local alive = {}
local dead
local all = redis.call('HGETALL', nodes)
for i = 1, #all, 2 do
  local epoch, value = all[i], all[i + 1]
  if string.sub(epoch, 1, 5) == 'dead:' then
    dead = string.sub(epoch, 6)
  -- What else there is, is of a release that this one does not know.
  elseif string.match(epoch, '^%d+$') then
    local till, name = string.match(value, '^(%d+) (.*)$')
    if not till then return {'broken nodes', epoch} end
    if tonumber(till) > now then
      alive[#alive + 1] = {epoch, name}
    else
      remove(epoch)
      dead = epoch
    end
  end
end
if dead then leave_groups(dead) end

local own
if step == 'enter' then
  last = math.max(last + 1, math.floor(now / 1000))
  redis.call('HSET', nodes, 'last', decimal(last))
  own = {decimal(last), who}
  alive[#alive + 1] = own
else
  for _, node in ipairs(alive) do
    if node[1] == who then own = node end
  end
  if not own then return {'dead'} end
end
redis.call('HSET', nodes, own[1], decimal(now + lease) .. ' ' .. own[2])

local answer = {'lease', redis.call('INFO', 'server'), own[1], decimal(last)}
for _, node in ipairs(alive) do
  answer[#answer + 1] = node[1]
  answer[#answer + 1] = node[2]
end
return answer
