-- Carries out one request about the idempotent requests of a client. `wwr::cluster::MemoryEngine` says what each step means.
--
-- KEYS: the record of the client, its outcomes.
-- ARGV:
--  1 the step
--  2 the epoch of the node that asks
--  3 the number of the request
--  4 the epoch through which 5 says who is alive
--  5 the epochs that are alive, with a comma before and after each
--  6 milliseconds until the engine removes a record that nobody uses
--  7 how many outcomes are kept
--  8 how many bytes they take together
--  9 the scope that is known, or a fresh one
-- 10 the number of the request of the client
-- 11 what that asks, as hexadecimal digits
-- 12 the number of the request that has begun it, or was to
-- 13 whether the outcome is known: 0 or 1
-- 14 the outcome
-- 15 with which 16 digits the run of this server begins, as far as the node knows, if a record may be made
--
-- Numbers of requests have leading zeros, so that they are in order as texts: there are more of them than numbers of Lua.
--
-- The record is a hash: `version`, the `data` under which it was made, `scope`, `forgotten`, `last`, and for each node
-- epoch `n:EPOCH` with `UNDONE FENCED SINCE`, for each request `r:NUMBER` with `r CONTENT EPOCH NUMBER` while it runs, and
-- then `e CONTENT ORDER SIZE KNOWN`. SINCE is in microseconds since 1970. Outcomes are a hash by the number of the request.
-- If the engine removes either to make room, nothing untrue is said: without a record there is another scope, and without
-- an outcome it is not known.

-- How long it is remembered what a node has undone, and that it is fenced: in milliseconds.
local REMEMBERED = 60000
-- What an outcome counts for beside its own bytes.
local OUTCOME = 64
local NONE = string.rep('0', 20)

local client, kept = KEYS[1], KEYS[2]
local step, epoch, number = ARGV[1], ARGV[2], ARGV[3]
local through, alive = tonumber(ARGV[4]), ARGV[5]
local keep, most, most_bytes = ARGV[6], tonumber(ARGV[7]), tonumber(ARGV[8])
local scope, token, content, begun = ARGV[9], ARGV[10], ARGV[11], ARGV[12]
local known, outcome = ARGV[13] == '1', ARGV[14]

local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]

local function decimal(value) return string.format('%.0f', value) end

-- The run of this server, and since when it is not the replica of another: if either is another one, changes may be lost.
local run = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')
local line = string.match(redis.call('INFO', 'replication'), 'master_replid:(%x+)')
if not run or not line then return {'no data'} end
-- So short that the engine keeps small records in one piece.
local data = string.sub(run, 1, 32) .. string.sub(line, 1, 32)

local record = {}
local all = redis.call('HGETALL', client)
for i = 1, #all, 2 do record[all[i]] = all[i + 1] end
if #all > 0 then
  if record.version ~= '1' then return {'broken', string.sub(record.version or '', 1, 20)} end
  if record.data ~= data then
    redis.call('DEL', client, kept)
    record = {}
  end
end
if not record.scope then
  if step ~= 'attach' then return {'no scope'} end
  -- What is carried out again must not make a record of the same scope.
  local first = string.sub(run, 1, 16)
  if ARGV[15] ~= first then return {'other data', first} end
  record = {scope = scope, forgotten = NONE, last = '0'}
  -- First what the engine may refuse, so that it refuses all.
  redis.call('HSET', client, 'version', '1', 'data', data, 'scope', scope, 'forgotten', NONE, 'last', '0')
  redis.call('DEL', kept)
end

-- A request that was begun can end, and a client keeps its record, also if the memory of the engine is full: after a write
-- that needs none, the engine refuses none in this script.
if step ~= 'begin' then redis.call('HDEL', client, '') end

local function is_dead(of)
  return tonumber(of) <= through and not string.find(alive, ',' .. of .. ',', 1, true)
end

-- What is known of nodes and requests. Nodes that are known to be dead are fenced.
local fenced, own, runs, ended, bytes, old = {}, nil, {}, {}, 0, {}
for field, value in pairs(record) do
  local kind, name = string.sub(field, 1, 2), string.sub(field, 3)
  if kind == 'n:' then
    local undone, is_fenced, since = string.match(value, '^(%d+) ([01]) (%d+)$')
    if not undone then return {'broken', '1'} end
    since = tonumber(since)
    if is_fenced == '0' and is_dead(name) then
      is_fenced, since = '1', now
      redis.call('HSET', client, field, table.concat({undone, '1', decimal(now)}, ' '))
    end
    if is_fenced == '1' then fenced[name] = true end
    if now - since > REMEMBERED * 1000 then
      old[#old + 1] = field
    elseif name == epoch then
      own = {undone = undone, is_fenced = is_fenced == '1'}
    end
  elseif kind == 'r:' then
    local what, by, begun_by = string.match(value, '^r (%x+) (%d+) (%d+)$')
    if what then
      runs[name] = {content = what, by = by, number = begun_by}
    else
      local asks, order, size, is_known = string.match(value, '^e (%x+) (%d+) (%d+) ([01])$')
      if not asks then return {'broken', '1'} end
      size = tonumber(size)
      ended[#ended + 1] =
        {token = name, content = asks, order = tonumber(order), size = size, is_known = is_known == '1'}
      bytes = bytes + size
    end
  end
end
for _, field in ipairs(old) do redis.call('HDEL', client, field) end
table.sort(ended, function(one, other) return one.order < other.order end)

-- A request has ended. Forgets the first outcomes, as far as there are too many.
local function finish(of, what, is_known, how)
  local size = (is_known and #how or 0) + OUTCOME
  if size > most_bytes then is_known, size = false, OUTCOME end
  local order = tonumber(record.last) + 1
  record.last = decimal(order)
  redis.call('HSET', client, 'last', record.last, 'r:' .. of,
    table.concat({'e', what, record.last, decimal(size), is_known and '1' or '0'}, ' '))
  if is_known then redis.call('HSET', kept, of, how) end
  runs[of] = nil
  ended[#ended + 1] = {token = of, content = what, order = order, size = size, is_known = is_known}
  bytes = bytes + size
  while #ended > 0 and (#ended > most or bytes > most_bytes) do
    local first = table.remove(ended, 1)
    bytes = bytes - first.size
    redis.call('HDEL', client, 'r:' .. first.token)
    redis.call('HDEL', kept, first.token)
    if first.token > record.forgotten then
      record.forgotten = first.token
      redis.call('HSET', client, 'forgotten', first.token)
    end
  end
end

-- How requests of dead nodes end will never be known.
local lost = {}
for of, run in pairs(runs) do
  if fenced[run.by] or is_dead(run.by) then lost[#lost + 1] = of end
end
table.sort(lost)
for _, of in ipairs(lost) do finish(of, runs[of].content, false) end

if own and own.is_fenced then return {'fenced'} end
local undone = own and own.undone or NONE

local function mark()
  redis.call('HSET', client, 'n:' .. epoch, table.concat({undone, '0', decimal(now)}, ' '))
end
mark()

local function begin()
  if number <= undone then return {'overtaken'} end
  local run = runs[token]
  if run then
    if run.content ~= content then return {'other'} end
    if run.by == epoch and run.number == number then return {'fresh'} end
    return {'running', run.by}
  end
  for _, one in ipairs(ended) do
    if one.token == token then
      if one.content ~= content then return {'other'} end
      local how = one.is_known and redis.call('HGET', kept, token)
      if how then return {'done', how} end
      return {'unknown'}
    end
  end
  if token <= record.forgotten then return {'unknown'} end
  redis.call('HSET', client, 'r:' .. token, table.concat({'r', content, epoch, number}, ' '))
  return {'fresh'}
end

local function is_own()
  local run = runs[token]
  return run and run.by == epoch and run.number == begun
end

local answer
if step == 'attach' then
  answer = {'attached', record.scope}
elseif scope ~= record.scope then
  answer = {'no scope'}
elseif step == 'begin' then
  answer = begin()
elseif step == 'finish' then
  if is_own() then finish(token, runs[token].content, known, outcome) end
  answer = {'ok'}
else
  if is_own() then redis.call('HDEL', client, 'r:' .. token) end
  if begun > undone then undone = begun end
  mark()
  answer = {'ok'}
end
redis.call('PEXPIRE', client, keep)
redis.call('PEXPIRE', kept, keep)
return answer
