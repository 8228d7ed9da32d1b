-- Carries out one request about the history of a session. `wwr::cluster::HistoryStep` says what each step means.
--
-- KEYS: the record of the session, its holders, its history, its signals.
-- ARGV:
--  1 the step
--  2 the epoch of the node that asks
--  3 the incarnation of the history if one has to be made, in decimal
--  4 how many signals are kept
--  5 how many bytes of them, but at least one signal
--  6 for how many milliseconds
--  7 milliseconds until the engine removes a record that nobody uses, or 0
--  8 what the names of the channels of nodes begin with
--  9 what news of this session begins with, without its kind
-- 10 append: the signal. read: the incarnation of the place
-- 11 read: the offset of the place
-- 12 read: how many signals at most
-- 13 read: how many bytes of them, but at least one signal
--
-- The history is a hash: `incarnation`, `data`, `first` and `last`, the offsets of the first signal that is kept and of the
-- last one, and `bytes`, how many are kept. It lives as long as the record, so that offsets go on. Signals are a hash, too:
-- for each offset the signal, and for `t` and the offset when it was appended, in milliseconds since 1970. Once all of them
-- are too old, the engine removes them.

local record, holders, history, signals = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local step, epoch = ARGV[1], ARGV[2]

local function decimal(value) return string.format('%.0f', value) end

-- Whether the session is open.
local head = redis.call('GETRANGE', record, 0, 25)
if head == '' then
  if redis.call('EXISTS', record) == 1 then return {'broken', ''} end
  redis.call('DEL', history, signals)
  return {'none'}
end
local version = string.byte(head)
if version == 2 then
  local mark = string.sub(head, 26, 26)
  if mark == 'c' then return {'none'} end
  if mark ~= 'o' then return {'broken', string.sub(head, 1, 1)} end
elseif version ~= 1 then
  return {'broken', string.sub(head, 1, 1)}
end

-- What is kept is read also if the memory of the engine is full: after a write that needs none, the engine refuses none in
-- this script.
if step == 'read' then redis.call('HDEL', signals, '') end

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

-- Which data this engine has: others after a restart, and on a replica that has taken over.
local data = string.match(redis.call('INFO', 'replication'), 'master_replid:(%x+)')
if not data then return {'broken history', 'data'} end

local known = redis.call('HMGET', history, 'incarnation', 'data', 'first', 'last', 'bytes')
local incarnation, first, last, bytes = known[1], tonumber(known[3]), tonumber(known[4]), tonumber(known[5])
local is_changed = false
if not incarnation or known[2] ~= data then
  redis.call('DEL', history, signals)
  incarnation, first, last, bytes, is_changed = ARGV[3], 1, 0, 0, true
elseif not (first and last and bytes) then
  return {'broken history', ''}
elseif first <= last and redis.call('EXISTS', signals) == 0 then
  -- All of them are too old.
  first, bytes, is_changed = last + 1, 0, true
end

local function forget_first()
  local offset = decimal(first)
  bytes = bytes - redis.call('HSTRLEN', signals, offset)
  redis.call('HDEL', signals, offset, 't' .. offset)
  first, is_changed = first + 1, true
end

local function forget_old()
  while first <= last do
    local at = redis.call('HGET', signals, 't' .. decimal(first))
    if at and tonumber(at) + tonumber(ARGV[6]) > now then return end
    forget_first()
  end
end

local function keep()
  redis.call('HSET', history, 'incarnation', incarnation, 'data', data,
    'first', decimal(first), 'last', decimal(last), 'bytes', decimal(bytes))
  if ARGV[7] == '0' then redis.call('PERSIST', history) else redis.call('PEXPIRE', history, ARGV[7]) end
end

if step == 'append' then
  local signal = ARGV[10]
  last = last + 1
  local offset = decimal(last)
  -- First what the engine may refuse, so that it refuses all.
  redis.call('HSET', signals, offset, signal, 't' .. offset, decimal(now))
  redis.call('PEXPIRE', signals, ARGV[6])
  bytes = bytes + #signal
  forget_old()
  while last - first + 1 > tonumber(ARGV[4]) or bytes > tonumber(ARGV[5]) and first < last do
    forget_first()
  end
  keep()
  local nodes = 0
  local all = redis.call('HGETALL', holders)
  for i = 1, #all, 2 do
    if all[i] ~= epoch and string.match(all[i + 1], '^[1-9]') then
      redis.call('PUBLISH', ARGV[8] .. all[i], 'h' .. ARGV[9] .. incarnation .. ' ' .. offset)
      nodes = nodes + 1
    end
  end
  return {'appended', incarnation, offset, decimal(nodes)}
end

forget_old()
if is_changed then keep() end
local place = tonumber(ARGV[11])
local gap = ARGV[10] ~= incarnation or place > last or place < first - 1
if gap then place = first - 1 end
local answer = {'read', incarnation, decimal(place + 1), gap and '1' or '0', decimal(last)}
local most, room = tonumber(ARGV[12]), tonumber(ARGV[13])
for offset = place + 1, math.min(last, place + most) do
  local signal = redis.call('HGET', signals, decimal(offset))
  if not signal then return {'broken history', decimal(offset)} end
  room = room - #signal
  if room < 0 and #answer > 5 then break end
  answer[#answer + 1] = signal
end
return answer
