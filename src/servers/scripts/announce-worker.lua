--[[
  Announces a process that runs jobs.

  KEYS[1]  announcements
  ARGV[1]  holder of leases that announces itself
  ARGV[2]  announcement, JSON

  Answers the other holders: { { holder, announcement }, ... }
]]
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
local all, others = redis.call('HGETALL', KEYS[1]), {}
for i = 1, #all, 2 do
  if all[i] ~= ARGV[1] then table.insert(others, { all[i], all[i + 1] }) end
end
return others
