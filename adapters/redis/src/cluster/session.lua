-- Carries out one request about a session. `wwr::cluster::MemoryEngine` says what each step means.
--
-- KEYS: the record of the session, its holders, its history, the signals in that.
-- ARGV:
--  1 the step
--  2 the epoch of the node that asks
--  3 the number of the request, with leading zeros
--  4 the epoch through which 5 says who is alive
--  5 the epochs that are alive, with a comma before and after each
--  6 milliseconds until the engine removes a record that nobody uses, or 0
--  7 what the names of the channels of nodes begin with
--  8 what news of this session begins with, without its kind
--  9 how many places the node has afterwards
-- 10 how many all nodes may have together, or 0 for any number
-- 11 the revision that is known or expected, or nothing; in decimal
-- 12 a record, a time, an info, or whether connections are closed
-- 13 if the nodes keep histories: the incarnation of that of this session if one has to be made, in decimal
--
-- Holders are a hash: for each epoch `PLACES NUMBER SINCE FENCED ANSWER REVISION`. SINCE is in microseconds since 1970.

-- How long it is remembered that a session is closed, and what a node asked last: in milliseconds. A node that has not
-- asked anything for so long has no places any more.
local REMEMBERED = 60000
-- What is before the info in both versions of a record, and the longest record.
local HEAD_1, HEAD_2, LONGEST = 25, 34, 4194304 + 34
local LAST_LOOKUP = 13

local record, holders, history, signals = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local step, epoch, number = ARGV[1], ARGV[2], ARGV[3]
local through, alive = tonumber(ARGV[4]), ARGV[5]
local expire, channel, about = ARGV[6], ARGV[7], ARGV[8]
local asked, limit, known, content = tonumber(ARGV[9]), tonumber(ARGV[10]), ARGV[11], ARGV[12]
local incarnation = ARGV[13]

-- What a node has, it keeps and gives up also if the memory of the engine is full: after a write that needs none, the engine
-- refuses none in this script. So nobody hears of a closing that is refused then.
if step ~= 'create' and step ~= 'join' and step ~= 'edit' then redis.call('HDEL', holders, '') end

local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]

local function decimal(value) return string.format('%.0f', value) end

-- What is stored.
local state, revision = 'nothing', 0
local head = redis.call('GETRANGE', record, 0, HEAD_2 - 1)
local length = redis.call('STRLEN', record)
if length > 0 then
  local version = string.byte(head)
  if version == 1 then
    state = 'open'
  elseif version == 2 and length >= HEAD_2 then
    local mark = string.sub(head, 26, 26)
    state = mark == 'o' and 'open' or mark == 'c' and 'closed' or 'broken'
    revision = struct.unpack('>I8', head, 27)
  else
    return {'broken', string.sub(head, 1, 1)}
  end
  local size = version == 1 and HEAD_1 or HEAD_2
  if state == 'broken' or length > LONGEST
    or state == 'open' and (length < size + 2
      or redis.call('GETRANGE', record, size, size) ~= '{'
      or redis.call('GETRANGE', record, -1, -1) ~= '}')
  then
    return {'broken', string.sub(head, 1, 1)}
  end
elseif redis.call('EXISTS', record) == 1 then
  return {'broken', ''}
end

-- Where its history ends. Read first, so that what cannot be read changes nothing.
local data, ends
if incarnation ~= '' then
  data = string.match(redis.call('INFO', 'replication'), 'master_replid:(%x+)')
  if not data then return {'broken holders', 'data'} end
  ends = redis.call('HMGET', history, 'incarnation', 'last', 'data')
end

-- Who holds it. Takes the places of nodes that are known to be dead, and forgets what is old.
local own, others, present = nil, 0, {}
local all = redis.call('HGETALL', holders)
for i = 1, #all, 2 do
  local of = all[i]
  local places, last, since, fenced, answer, rest =
    string.match(all[i + 1], '^(%d+) (%d+) (%d+) ([01]) (%a+) (%d+)$')
  if not places then return {'broken holders', of} end
  places, since = tonumber(places), tonumber(since)
  if fenced == '0' and tonumber(of) <= through and not string.find(alive, ',' .. of .. ',', 1, true) then
    places, since, fenced = 0, now, '1'
    redis.call('HSET', holders, of, table.concat({0, last, decimal(now), 1, answer, rest}, ' '))
  end
  if now - since > REMEMBERED * 1000 then
    redis.call('HDEL', holders, of)
  elseif of == epoch then
    own = {places = places, number = last, fenced = fenced == '1', answer = answer, revision = rest}
  else
    others = others + places
    if places > 0 then present[#present + 1] = of end
  end
end

local places = own and own.places or 0

local function keep() redis.call('PEXPIRE', holders, REMEMBERED) end

-- Returns an answer to a node that has places, with where the history of the session ends. `history.lua` describes histories.
local function with_history(answer, what)
  if incarnation == '' or state ~= 'open' then return {answer, what} end
  if ends[1] and ends[2] and ends[3] == data then return {answer, what, ends[1], ends[2]} end
  redis.call('DEL', history, signals)
  redis.call('HSET', history, 'incarnation', incarnation, 'data', data, 'first', '1', 'last', '0', 'bytes', '0')
  if expire ~= '0' then redis.call('PEXPIRE', history, expire) end
  return {answer, what, incarnation, '0'}
end

if own and own.fenced then
  keep()
  return {'fenced'}
elseif own and own.number > number then
  keep()
  return {'overtaken'}
elseif own and own.number == number and own.answer ~= 'found' and own.answer ~= 'same' then
  keep()
  if own.answer == 'created' then return with_history(own.answer, own.revision) end
  return {own.answer, own.revision}
end

local function use()
  for _, name in ipairs({record, history}) do
    if expire == '0' then redis.call('PERSIST', name) else redis.call('PEXPIRE', name, expire) end
  end
end

local function is_full() return limit > 0 and others + asked > limit end

local function tell(kind, what)
  for _, of in ipairs(present) do
    redis.call('PUBLISH', channel .. of, kind .. about .. what)
  end
end

local function change(mark, info)
  revision = revision + 1
  return string.char(2) .. string.sub(head, 2, HEAD_1) .. mark .. struct.pack('>I8', revision) .. info
end

local function close()
  redis.call('SET', record, change('c', ''), 'PX', REMEMBERED)
  redis.call('DEL', history, signals)
  state, places = 'closed', 0
  return 'closed'
end

-- What to do if the session is open.
local open = {
  create = function() return 'exists' end,
  join = function()
    if is_full() then return 'limit' end
    places = asked
    local found = redis.call('GET', record)
    redis.call('SETRANGE', record, LAST_LOOKUP, content)
    use()
    return 'found', found
  end,
  confirm = function()
    places = is_full() and 0 or asked
    if is_full() then return 'limit' end
    use()
    if known == decimal(revision) then return 'same' end
    return 'found', redis.call('GET', record)
  end,
  edit = function()
    local edited = change('o', content)
    -- First what the engine may refuse, so that it refuses all.
    tell('c', struct.pack('>I8', revision))
    redis.call('SET', record, edited, 'KEEPTTL')
    return 'edited'
  end,
  place = function()
    places = asked
    return 'placed'
  end,
  close = function()
    places = 0
    return others > 0 and 'detached' or close()
  end,
  closeall = function()
    if known ~= '' and known ~= decimal(revision) then return 'changed' end
    tell('x', content)
    return close()
  end,
}

-- What to do otherwise. There are no places then.
local other = {
  create = function()
    if state == 'closed' then return 'exists' end
    redis.call('SET', record, content)
    redis.call('DEL', history, signals)
    ends = {}
    use()
    state, revision, places = 'open', 1, asked
    return 'created'
  end,
  join = function() places = 0 return 'none' end,
  place = function() places = 0 return 'placed' end,
  close = function() places = 0 return 'closed' end,
  -- Who expects a revision learns that another has closed it.
  closeall = function() places = 0 return known ~= '' and 'changed' or 'closed' end,
}
other.confirm, other.edit = other.join, other.join

local answer, found = (state == 'open' and open or other)[step]()
-- Guessed keys cost nothing.
if step == 'join' and not own and state == 'nothing' then return {answer, '0'} end
local mark = answer == 'edited' and decimal(revision) or '0'
redis.call('HSET', holders, epoch, table.concat({decimal(places), number, decimal(now), 0, answer, mark}, ' '))
keep()
if answer == 'created' or answer == 'found' or answer == 'same' then return with_history(answer, found or mark) end
return {answer, found or mark}
