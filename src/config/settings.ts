import { Type, type Static } from '@sinclair/typebox'

/**
 * Every setting of the service, once: validation, types, `.env.example`, the table of docs/settings.md and `doctor`
 * all read this object. Values arrive as strings from the environment; `parse.ts` converts them.
 */
const text = (description: string, defaultValue = '') => Type.String({ description, default: defaultValue })
const flag = (description: string, defaultValue: boolean) => Type.Boolean({ description, default: defaultValue })
const whole = (description: string, defaultValue: number, minimum: number, maximum: number) =>
  Type.Integer({ description, default: defaultValue, minimum, maximum })
const oneOf = <const Values extends readonly string[]>(
  values: Values, defaultValue: Values[number], description: string
) =>
  Type.Unsafe<Values[number]>({ type: 'string', enum: values, default: defaultValue, description })
/** Comma-separated in the environment. */
const list = (description: string, defaultValue: string[] = []) =>
  Type.Array(Type.String(), { description, default: defaultValue })
const secret = (description: string) => Type.String({ description, default: '', secret: true })

export const Settings = Type.Object({
  HOST: text('Address to listen on. Anything but loopback asks for the admin token.', '127.0.0.1'),
  PORT: whole('Port to listen on; 0 takes a free one.', 3000, 0, 65535),
  WORKER_PORT: whole('Port on which a process of `stablequeue worker` serves /health and /metrics, to anybody who reaches it; 0 for none.', 0, 0, 65535),
  PUBLIC_URL: Type.String({ description: 'Address under which callers reach this service, for links; empty: taken from the request. Its path, such as /queue, is the prefix under which a proxy serves it; see docs/reverse-proxy.md.', default: '', pattern: '^$|^https?://[^/?#]+(/(?!\\.{1,2}(/|$))[A-Za-z0-9_.~-]+){0,8}/?$', examples: ['https://queue.example.org'] }),
  DATA_DIR: text('Folder for images, keys and the private Redis.', './data'),
  MEDIA_URL: Type.String({ description: 'Bucket for inputs, outputs and thumbnails, with a prefix for all names in it; empty: they are in DATA_DIR. With a bucket, each process can have a DATA_DIR of its own.', default: '', pattern: '^$|^s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/(?!\\.{1,2}(/|$))[A-Za-z0-9._-]+){0,20}/?$', examples: ['s3://bucket/prefix'] }),
  MEDIA_REDIRECT: flag('true: requests for images are redirected to the bucket, by links that are valid for some minutes; clients must reach S3_ENDPOINT then.', false),
  S3_ENDPOINT: Type.String({ description: 'Address of the S3 service; empty: Amazon\'s for S3_REGION.', default: '', pattern: '^$|^https?://[^/?#@\\s]+/?$', examples: ['http://127.0.0.1:9000'] }),
  S3_REGION: Type.String({ description: 'Region of the bucket.', default: 'us-east-1', pattern: '^[a-z0-9-]{1,40}$', examples: ['eu-central-1'] }),
  S3_ACCESS_KEY_ID: secret('Name of the access key of the bucket.'),
  S3_SECRET_ACCESS_KEY: secret('Secret of that access key.'),
  S3_PATH_STYLE: oneOf(['auto', 'on', 'off'], 'auto', 'on: the bucket is the first part of the path. off: it is a part of the host name. auto: on with S3_ENDPOINT or a bucket with a dot. true and false mean on and off.'),
  S3_TIMEOUT_SECONDS: Type.Number({ description: 'Longest wait for an answer of the bucket; sending a file can take longer, in proportion to its size.', default: 10, minimum: 0.1, maximum: 120 }),
  STORAGE_MIN_FREE_MIB: whole('Free space below which DATA_DIR counts as full, in MiB: nothing is generated or accepted then. On a disk smaller than twenty times this value, a twentieth of the disk is enough.', 256, 0, 1_000_000),
  STORAGE_CHECK_SECONDS: Type.Number({ description: 'How long a check of DATA_DIR is valid, and the pause between checks while it cannot be used.', default: 1, minimum: 0.01, maximum: 60 }),
  REDIS_URL: Type.String({ description: 'Address of your Redis: redis://, rediss://, unix:///path or redis+sentinel://host,host/group. Empty: the service starts and stops a private one.', default: '', pattern: '^$|^(rediss?|unix|redis\\+sentinel)://.+', examples: ['redis://:password@host:6379', 'redis+sentinel://host,host/group'], secret: true }),
  REDIS_PREFIX: Type.String({ description: 'Hash tag that all keys share; two installations on one Redis need two.', default: 'sq', pattern: '^[A-Za-z0-9_-]{1,32}$', examples: ['sq'] }),
  REDIS_TIMEOUT_SECONDS: Type.Number({ description: 'Longest wait of a request for Redis before the caller gets 503.', default: 5, minimum: 0.1, maximum: 60 }),
  REDIS_SERVER: text('Program to start as private Redis; empty: redis-server or valkey-server from PATH.'),
  A1111_URL: Type.String({ description: 'Address of one A1111/Forge server, registered as `Local`. AUTOMATIC1111_API_BASE and --a1111-url mean the same.', default: '', pattern: '^$|^https?://.+', examples: ['http://127.0.0.1:7860'] }),
  SERVERS: list('Servers as alias=url, comma-separated; Basic credentials as http://user:pass@host:7860.'),
  SIMULATOR: oneOf(['auto', 'off'], 'auto', 'auto: start the built-in simulator if no server is registered or found.'),
  LOCAL_A1111_URL: text('Where to look for a server on this machine if none is registered.', 'http://127.0.0.1:7860'),
  CORS_ORIGINS: list('Exact origins whose browser pages can call the API.', ['http://localhost:7860', 'http://127.0.0.1:7860', 'http://localhost:8080', 'http://127.0.0.1:8080', 'http://localhost:3000', 'http://127.0.0.1:3000']),
  AUTH_TOKEN: secret('One more bearer token with full rights; at least 16 characters.'),
  ADMIN_TOKEN: secret('Admin token for the web UI off loopback; empty: created once in DATA_DIR/admin-token.'),
  UI_AUTH: oneOf(['auto', 'token', 'none'], 'auto', 'auto: no key from loopback; a token otherwise, and if PUBLIC_HOSTS or PUBLIC_URL names more than this machine. token: always a token. none: never, for peers in UI_TRUSTED_CIDRS.'),
  UI_TRUSTED_CIDRS: list('Networks trusted without a token; only with UI_AUTH=none, and required there. With PUBLIC_HOSTS or PUBLIC_URL they are trusted only if TRUSTED_PROXIES is set, too.'),
  PUBLIC_HOSTS: list('Names allowed in the Host header besides IP literals and localhost; a leading dot allows subdomains.'),
  TRUSTED_PROXIES: list('Networks of reverse proxies whose X-Forwarded-* headers are trusted; see docs/reverse-proxy.md.'),
  MASTER_KEY: secret('Key that encrypts stored secrets, 32 bytes as base64 or hex; empty: created once as DATA_DIR/master.key.'),
  MASTER_KEY_PREVIOUS: secret('The master key before a rotation; it still decrypts older secrets.'),
  BOOTSTRAP_API_KEY: secret('key:secret, imported once if there is no access key yet.'),
  RATE_LIMIT_PER_MINUTE: whole('Requests a minute for one access key; 0 for no limit.', 60, 0, 1_000_000),
  QUEUE_LIMIT_PER_KEY: whole('Waiting jobs that one access key can have.', 1000, 1, 1_000_000),
  JOB_TIMEOUT_SECONDS: whole('Longest time that one generation can take on a server, unless the server has its own limit.', 1800, 1, 86_400),
  SERVER_START_SECONDS: Type.Number({ description: 'Wait after a server that refused connections accepts them again, before its first request: an A1111 with its user interface dies if a request comes while it starts. 0: no wait.', default: 6, minimum: 0, maximum: 600 }),
  STALL_SECONDS: whole('Longest time without progress before a running generation is given up; 0 for no limit.', 600, 0, 86_400),
  JOB_ATTEMPTS: whole('Generations of one job before a temporary error becomes final.', 3, 1, 20),
  QUEUE_PATIENCE: whole('How often a waiting job can be passed over by jobs whose checkpoint is loaded: more gives throughput, less an even order; 0 for none.', 48, 0, 500),
  QUEUE_LIGHT_PATIENCE: whole('The same for the jobs of access keys that have few of them waiting.', 2, 0, 500),
  QUEUE_LIGHT_JOBS: whole('How many waiting jobs of one access key are few.', 3, 0, 1000),
  TARGET_WAIT_SECONDS: whole('How long jobs should wait at most, for the metric stablequeue_servers_wanted, which autoscalers follow.', 60, 1, 86_400),
  RETRY_BACKOFF_SECONDS: Type.Number({ description: 'Wait before the second attempt; doubled before each further one, with jitter.', default: 2, minimum: 0.05, maximum: 3600 }),
  RESULT_MAX_MIB: whole('Largest answer accepted from a server, in MiB.', 512, 1, 4096),
  BODY_LIMIT_MIB: whole('Largest request body, in MiB; 0: the size of an image of IMAGE_MAX_MIB as base64 plus 16 MiB, at least 64.', 0, 0, 2048),
  BODIES_MAX_MIB: whole('Request bodies that one process accepts at the same time, in MiB; 0: a quarter of the memory available to Node.js. Beyond it, callers get 503 with Retry-After.', 0, 0, 65_536),
  BODIES_PER_KEY_MIB: whole('The same for one access key, or for one address without a key; 0: half of BODIES_MAX_MIB. Beyond it, the caller gets 429 with Retry-After.', 0, 0, 65_536),
  BODY_STALL_SECONDS: Type.Number({ description: 'Time in which a request must send all its headers, and then each further 16 KiB of its body; a slower one gets 408.', default: 20, minimum: 0.1, maximum: 300 }),
  LISTENERS_PER_KEY: whole('Event streams and WebSockets that one access key can have open in one process; without a key they count per address.', 100, 1, 100_000),
  WAITING_PER_KEY: whole('Requests waiting for a job to finish (`?wait=`, /sdapi/v1) that one access key can have open in one process; without a key they count per address.', 1000, 1, 100_000),
  IMAGE_MAX_MIB: whole('Largest single input image after decoding base64, in MiB; 0: the largest size of a PNG of IMAGE_MAX_MEGAPIXELS.', 0, 0, 1024),
  IMAGE_MAX_MEGAPIXELS: Type.Number({ description: 'Largest single input image, in millions of pixels.', default: 16.8, minimum: 0.01, maximum: 268 }),
  IMAGES_PER_JOB: whole('Input images that one job can have.', 16, 1, 1000),
  PIXELS_PER_JOB_MEGAPIXELS: Type.Number({ description: 'Largest total output of one job, in millions of pixels (images times their size).', default: 400, minimum: 0.01, maximum: 100_000 }),
  OUTPUTS_PER_JOB: whole('Most images that one job can make: batch_size times n_iter.', 6400, 1, 1_000_000),
  MODELS_DIR: list('Folders that hold models of all types, in subfolders named as in A1111, Forge or ComfyUI, such as Stable-diffusion and Lora. MODEL_PATH means the same.'),
  CHECKPOINT_DIR: list('Folders with checkpoints. CHECKPOINT_PATH means the same.'),
  LORA_DIR: list('Folders with LoRAs and LyCORIS. LORA_PATH means the same.'),
  VAE_DIR: list('Folders with VAEs.'),
  EMBEDDING_DIR: list('Folders with embeddings.'),
  UPSCALER_DIR: list('Folders with upscalers.'),
  CONTROLNET_DIR: list('Folders with ControlNet models.'),
  CIVITAI_BASE_URL: Type.String({ description: 'Address of Civitai\'s REST API, or of a mirror.', default: 'https://civitai.com/api/v1', pattern: '^https?://[^/?#]+(/[^?#]*)?$', examples: ['https://civitai.com/api/v1'] }),
  CIVITAI_API_KEY: secret('Your Civitai key, for models that need one.'),
  CIVITAI_INTERVAL_SECONDS: Type.Number({ description: 'Least time between two requests to Civitai, for all processes together.', default: 1, minimum: 0.01, maximum: 60 }),
  HUGGINGFACE_BASE_URL: Type.String({ description: 'Address of HuggingFace, or of a mirror.', default: 'https://huggingface.co', pattern: '^https?://[^/?#]+$', examples: ['https://huggingface.co'] }),
  HUGGINGFACE_TOKEN: secret('Your HuggingFace token, for repositories that need one.'),
  DOWNLOAD_PICKLES: flag('true: allow downloads of files that can run programs when they are loaded (.ckpt, .pt, .pth, .bin).', false),
  IDEMPOTENCY_HOURS: whole('Hours for which an Idempotency-Key returns the first answer again.', 24, 1, 720),
  EGRESS_PROFILE: oneOf(['public', 'lan', 'strict'], 'public', 'Allowed targets of addresses chosen by callers, such as webhookUrl. public: the internet. lan: home networks and this machine too. strict: only those in EGRESS_ALLOW.'),
  EGRESS_ALLOW: list('Further networks or names allowed for such addresses, each with or without port: 192.168.1.0/24, nas.local:5000.'),
  SERVERS_ALLOW: list('Addresses, networks or names allowed for servers although they are link-local or belong to metadata services of clouds: 169.254.10.5, fe80::/10, gpu.internal.'),
  WEBHOOK_REQUIRE_HTTPS: flag('true: webhooks go to https addresses only.', false),
  WEBHOOK_RETRY_SCHEDULE: text('Waits after failed attempts of a webhook (s, m, h), each randomly up to 20 % longer or shorter.', '5s,30s,5m,30m,2h,5h,10h,10h'),
  WEBHOOK_TIMEOUT_SECONDS: Type.Number({ description: 'Longest time that one attempt can take in total.', default: 15, minimum: 0.1, maximum: 120 }),
  WEBHOOK_CONCURRENCY: whole('Attempts that one process makes at the same time.', 20, 1, 1000),
  WEBHOOK_PER_KEY: whole('Attempts at the same time for one access key.', 8, 1, 1000),
  WEBHOOK_PER_ENDPOINT: whole('Attempts at the same time to one address of one access key.', 2, 1, 1000),
  WEBHOOK_LOG_DAYS: whole('Days for which deliveries and their attempts are stored.', 7, 1, 365),
  SDAPI_EARLY_JOB_ID: oneOf(['asked', 'on', 'off'], 'asked', 'Whether /sdapi/v1 sends X-Job-ID with status 200 as soon as it accepts a job, and aborts the transfer if the job then fails. asked: for callers that ask for it, see docs/drop-in-reference.md. on: for all. off: for none; X-Job-ID comes with the answer and its real status. true and false mean on and off.'),
  SDAPI_OPEN_ROUTES: list('Routes of servers to open: those of /sdapi/v1 that change or stop a server, such as unload-checkpoint or server-restart, for callers that can administer servers; other paths, such as /adetailer/v1/ad_model or all below /adetailer/v1/*, for callers that can submit jobs.'),
  RETENTION_DAYS: whole('Days for which finished jobs are kept with their images; checked every 6 hours. 0 for no limit. Can be changed while the service runs.', 0, 0, 36_500),
  RETENTION_JOBS: whole('How many finished jobs are kept with their images, the newest first; checked every 6 hours. 0 for no limit. Can be changed while the service runs.', 0, 0, 10_000_000),
  TRACKER_ENABLED: flag('true: jobs of /sdapi/v1 get an X-Job-ID and are listed with the address of their caller.', true),
  TRACKER_RETENTION: whole('Days for which finished jobs of /sdapi/v1 are kept with their images; checked every 6 hours. 0 for no limit.', 0, 0, 36_500),
  TAGGER_URL: Type.String({ description: 'Address of a tagger for images of /sdapi/v1 whose request has meta.auto_tag: true. It gets a form with the file and answers [{"filename", "tags": {"tag": score}}]. DONBOORU_AUTOTAG_ENDPOINT means the same.', default: '', pattern: '^$|^https?://.+', examples: ['http://127.0.0.1:5000/evaluate'] }),
  FLORENCE_URL: Type.String({ description: 'Address of a Florence-2 service made with Gradio, for /sdapi/v1/florence. FLORENCE_API_BASE means the same.', default: '', pattern: '^$|^https?://.+', examples: ['http://127.0.0.1:7861'] }),
  SDAPI_UNKNOWN_NAMES: oneOf(['refuse', 'ignore'], 'refuse', 'How /sdapi/v1 treats a checkpoint, sampler or LoRA that no server has. refuse: reject the request with 422. ignore: continue without it, as A1111 does.'),
  STUDIO_JOBS_PER_USER: whole('Unfinished generations that one user_id of /generate can have; 0 for no limit.', 0, 0, 1_000_000),
  STUDIO_COOLDOWN_SECONDS: Type.Number({ description: 'Seconds that a user_id must wait after a generation before the next; 0 for none.', default: 0, minimum: 0, maximum: 86_400 }),
  STUDIO_EXEMPT_USERS: list('Values of user_id that are exempt from both limits.'),
  STUDIO_MAX_MEGAPIXELS: Type.Number({ description: 'Most millions of pixels that /generate generates before hires fix; larger sizes are scaled down in proportion.', default: 4.2, minimum: 0.01, maximum: 16.8 }),
  STUDIO_UPSCALE_MEGAPIXELS: Type.Number({ description: 'Most millions of pixels that /generate/upscale makes of one picture.', default: 67.2, minimum: 0.01, maximum: 1000 }),
  STUDIO_BATCH_LIMIT: whole('Generations that one batch of /generate/batch can have; a batch counts as one of STUDIO_JOBS_PER_USER.', 200, 1, 1000),
  STUDIO_BLOCKED_WORDS: list('Words that prompts of /generate must not contain.'),
  OTEL_EXPORTER_OTLP_ENDPOINT: Type.String({ description: 'Address of an OpenTelemetry collector that takes OTLP over HTTP, for traces from request to webhook; empty: no traces.', default: '', pattern: '^$|^https?://.+', examples: ['http://127.0.0.1:4318'] }),
  OTEL_EXPORTER_OTLP_HEADERS: secret('Headers for that collector, as name=value, separated by commas.'),
  OTEL_SERVICE_NAME: text('Name of this service in traces.', 'stablequeue'),
  DASHBOARD_READ_ONLY: flag('true: the BullMQ dashboard shows everything and changes nothing.', true),
  LOG_LEVEL: oneOf(['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'], 'info', 'Least severity that is logged.'),
  SHUTDOWN_SECONDS: Type.Number({ description: 'Longest time that a shutdown can take before the process exits anyway.', default: 8, minimum: 0.5, maximum: 600 })
})

export type Config = Readonly<Static<typeof Settings>>
export type SettingName = keyof Config
