"""A tiny client for bots and apps, with nothing but Python's standard library.

    python3 examples/client.py http://127.0.0.1:3000 "a lighthouse at dusk" picture.png
    python3 examples/client.py http://127.0.0.1:3000 "a dancer" picture.png --image pose.png --control control_v11p_sd15_openpose

Copy it and extend it; /docs of the service describes the whole interface. Only other machines need an access key:
set STABLEQUEUE_KEY and STABLEQUEUE_SECRET.
"""
import argparse
import base64
import json
import os
import sys
import urllib.error
import urllib.request
import uuid


class Client:
    def __init__(self, url, key=None, secret=None, pause=3):
        """pause: whole seconds between reports of an unfinished job; its end is reported at once."""
        self.url = url.rstrip('/')
        self.headers = {'x-api-key': key, 'x-api-secret': secret} if key else {}
        self.pause = pause

    def call(self, method, path, body=None, content_type='application/json'):
        """Returns the parsed answer. Raises RuntimeError with the sentence of the service."""
        headers = dict(self.headers)
        if body is not None:
            headers['content-type'] = content_type
            if not isinstance(body, bytes):
                body = json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data=body, headers=headers, method=method)
        try:
            with urllib.request.urlopen(request) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            detail = json.load(error).get('detail')
            if isinstance(detail, list):
                detail = '; '.join('%s: %s' % ('.'.join(map(str, entry['loc'][1:])), entry['msg']) for entry in detail)
            raise RuntimeError(detail) from error

    def generate(self, kind, fields, files=None):
        """Starts a generation and returns the id of its job. files: paths by field name, such as image and mask."""
        if not files:
            return self.call('POST', '/generate/' + kind, fields)['job_id']
        boundary = uuid.uuid4().hex
        parts = [part(boundary, 'request', json.dumps(fields).encode(), 'application/json')]
        for name, path in files.items():
            with open(path, 'rb') as file:
                parts.append(part(boundary, name, file.read(), 'application/octet-stream', os.path.basename(path)))
        body = b''.join(parts) + b'--' + boundary.encode() + b'--\r\n'
        return self.call('POST', '/generate/' + kind, body, 'multipart/form-data; boundary=' + boundary)['job_id']

    def wait(self, job_id, on_change=lambda job: None):
        """Waits until a job has finished and returns its result. The service answers then, or after the pause."""
        job = self.call('GET', '/jobs/' + job_id)
        on_change(job)
        while job['status'] not in ('completed', 'failed'):
            before = (job['status'], job['message'])
            job = self.call('GET', '/jobs/%s?wait=%d' % (job_id, self.pause))
            if (job['status'], job['message']) != before:
                on_change(job)
        if job['status'] == 'failed':
            raise RuntimeError(job['message'])
        return self.call('GET', '/jobs/' + job_id + '/result')


def part(boundary, name, content, content_type, filename=None):
    disposition = 'form-data; name="%s"' % name + ('; filename="%s"' % filename if filename else '')
    head = '--%s\r\ncontent-disposition: %s\r\ncontent-type: %s\r\n\r\n' % (boundary, disposition, content_type)
    return head.encode() + content + b'\r\n'


def main():
    options = argparse.ArgumentParser(description='Generate one image.')
    options.add_argument('url')
    options.add_argument('prompt')
    options.add_argument('file', help='file to write')
    options.add_argument('--image', help='an image to start from, or for ControlNet')
    options.add_argument('--control', help='ControlNet model for the image')
    options.add_argument('--preprocessor', help='preprocessor that makes the control map')
    options.add_argument('--user', default='me')
    options.add_argument('--steps', type=int, default=20)
    given = options.parse_args()

    client = Client(given.url, os.environ.get('STABLEQUEUE_KEY'), os.environ.get('STABLEQUEUE_SECRET'))
    fields = {'user_id': given.user, 'prompt': given.prompt, 'steps': given.steps}
    kind = 'txt2img'
    if given.image:
        kind = 'img2img'
    if given.control:
        kind = 'controlnet'
        fields['controlnet_units'] = [{'model': given.control, 'preprocessor': given.preprocessor}]
    try:
        job_id = client.generate(kind, fields, {'image': given.image} if given.image else None)
        result = client.wait(job_id, lambda job: print('%s, %d %%: %s' % (job['status'], job['progress'] * 100, job['message'])))
    except RuntimeError as error:
        sys.exit('There is no image: %s' % error)
    for warning in result['warnings']:
        print('Note: ' + warning['message'])
    with open(given.file, 'wb') as file:
        file.write(base64.b64decode(result['images'][0]))
    print(given.file)


if __name__ == '__main__':
    main()
