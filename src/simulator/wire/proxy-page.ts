import { createAnswer, type Answer } from '../routes/route.ts'

const reasons: Readonly<Record<number, string>> = {
  200: 'Welcome',
  302: 'Found',
  403: 'Forbidden',
  404: 'Not Found',
  405: 'Not Allowed',
  502: 'Bad Gateway',
  503: 'Service Temporarily Unavailable',
  504: 'Gateway Time-out'
}

/** What a reverse proxy shows in place of the server: HTML, not JSON. Cloudflare has statuses of its own. */
export function proxyPage (status: number, headers: Readonly<Record<string, string>> = {}): Answer {
  const html = status >= 520 ? cloudflarePage(status) : nginxPage(`${status} ${reasons[status] ?? 'Error'}`)
  return createAnswer(status, 'text/html', html, 'whole', headers)
}

function nginxPage (title: string): string {
  return `<html>\r\n<head><title>${title}</title></head>\r\n<body>\r\n<center><h1>${title}</h1></center>\r\n` +
    '<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n'
}

function cloudflarePage (status: number): string {
  return '<!DOCTYPE html>\n<!--[if lt IE 7]> <html class="no-js ie6 oldie" lang="en-US"> <![endif]-->\n' +
    `<head>\n<title>sd.example.org | ${status}: A timeout occurred</title>\n</head>\n<body>\n` +
    `<h1>A timeout occurred <span>Error code ${status}</span></h1>\n</body>\n</html>\n`
}
