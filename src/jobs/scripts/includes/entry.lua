--[[
  The BullMQ entry of a waiting job: one in the queue of its server, named after job and run.
]]
--- @external "queue-entries"
local function runName (id, run) return id .. '_' .. string.format('%.0f', run) end

local function addRunEntry (server, id, run, lane, delayMs)
  addEntry('generation-' .. server, runName(id, run), id, run, lane, delayMs)
end

local function removeRunEntry (server, id, run)
  removeEntry('generation-' .. server, runName(id, run))
end
