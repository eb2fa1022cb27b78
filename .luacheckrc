-- For people who have luacheck: `luacheck src queues`. test/redis/lua.test.ts checks the same with what npm installs.
std = {
  globals = {},
  read_globals = {
    'KEYS', 'ARGV', 'redis', 'cjson', 'cmsgpack', 'bit', 'struct', 'string', 'table', 'math', 'unpack', 'ipairs', 'pairs',
    'next', 'tonumber', 'tostring', 'type', 'error', 'pcall', 'select', 'assert'
  }
}
max_line_length = 120
