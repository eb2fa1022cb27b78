/**
 * ARGV: id, result JSON as it was read, result JSON without the image, name of the image.
 * Takes one image out of an ended job. Answers forgotten | changed | gone.
 */
export const forgetOutput = /* lua */ `
local id, before, after, name = unpack(ARGV)
local job = read(id)
if not job then return { 'gone' } end
if redis.call('HGET', jobKey(id), 'result') ~= before then return { 'changed' } end
redis.call('HSET', jobKey(id), 'result', after, 'updated', now())
redis.call('HDEL', KEYS[1] .. 'outputs', name)
announce('image-removed', id, job.server, job.key, job.status, { filename = name })
return { 'forgotten' }
`
