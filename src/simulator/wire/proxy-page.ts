import { createAnswer, type Answer } from '../routes/route.ts'

const reasons = { 502: 'Bad Gateway', 504: 'Gateway Time-out' } as const

/** What a reverse proxy in front of the server shows when it gets no answer: HTML, not JSON. */
export function proxyPage (status: 502 | 504): Answer {
  const title = `${status} ${reasons[status]}`
  return createAnswer(status, 'text/html',
    `<html>\r\n<head><title>${title}</title></head>\r\n<body>\r\n<center><h1>${title}</h1></center>\r\n` +
    '<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n')
}
