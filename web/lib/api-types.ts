import type { Static } from '@sinclair/typebox'
import type { ApiKey, ApiKeyCreation, ApiKeyUpdate, ApiKeyWithSecret, WebhookSecretAnswer } from '../../schemas/api-key.ts'
import type { DownloadList, DownloadRequest, DownloadStarted, DownloadView } from '../../schemas/download.ts'
import type { ErrorBody } from '../../schemas/error.ts'
import type { EventView } from '../../schemas/event.ts'
import type { GalleryImageView, GalleryQuery, GalleryView, ImagesDeleted, ZipAnswer } from '../../schemas/gallery.ts'
import type { DryRunAnswer, GenerateAnswer, GenerateRequest } from '../../schemas/generate.ts'
import type { A1111Parameters, ParametersToRead, ReadParameters } from '../../schemas/generation-parameters.ts'
import type {
  Done, JobAction, JobActionAnswer, JobAnswer, JobChange, JobImageView, JobListQuery, JobOverviewView, JobPatch,
  JobStatus, JobView,
  ShortImageView, ShortJobListView, ShortJobView
} from '../../schemas/job.ts'
import type { DeletionAnswer, DuplicatesView, ScanView } from '../../schemas/model-files.ts'
import type { ModelAnswer, ModelListView, ModelQuery, ModelType, ModelView } from '../../schemas/model.ts'
import type { FailuresView, GroupCounts, GroupsView, QueueView } from '../../schemas/queue.ts'
import type { ServerCheckOptions, ServerCheckReport, ServerCheckView } from '../../schemas/server-check.ts'
import type {
  InventoryView, ServerChange, ServerChangeAnswer, ServerHistory, ServerInput, ServerSample, ServerTestAnswer,
  ServerView
} from '../../schemas/server.ts'
import type {
  ChangeableSettings, PurgeAnswer, RetentionView, SettingsChange, SettingsChanged, SettingsView, SettingView
} from '../../schemas/settings.ts'
import type {
  DeliveryAttemptView, DeliveryDetail, DeliveryList, DeliveryQuery, DeliveryView, EndpointView
} from '../../schemas/webhook.ts'

/**
 * Requests and answers of the API as these pages use them. All of it comes from the schemas, so that pages that use a
 * field which is renamed there do not compile.
 */

export type { ApiKeyCreation, ApiKeyUpdate, JobAction, JobPatch, JobStatus, ModelType, ServerCheckOptions, ServerInput }
export type { GenerateRequest as JobRequest, ParametersToRead, SettingsChange }
export type ErrorAnswer = Static<typeof ErrorBody>
export type Message = Pick<Static<typeof Done>, 'message'>

/** Parameters of a generation: A1111's own, and further ones of clients. */
export type Parameters = Partial<A1111Parameters> & Readonly<Record<string, unknown>>
export type JobImage = Static<typeof JobImageView>
export type ShortImage = Static<typeof ShortImageView>

/** A whole job. */
export interface Job extends Omit<Static<typeof JobAnswer>['job'], 'generation_params'> {
  readonly generation_params: Parameters
}
export type JobAccepted = GenerateAnswer
export type JobForecast = DryRunAnswer
export type JobDone = Static<typeof JobChange>
export type JobsDone = JobActionAnswer
export type ShortJob = ShortJobView
export type JobPage = Static<typeof ShortJobListView>
export type JobOverview = JobOverviewView
export type JobQuery = JobListQuery
export type WholeQueue = QueueView
export type Group = GroupCounts
export type Groups = GroupsView
export type Failures = FailuresView
export type FailureCause = FailuresView['causes'][number]

/** A job in a list, with the names of a whole one, so that both have the same parts. */
export interface ListedJob extends Pick<JobView,
  'id' | 'status' | 'priority' | 'background' | 'error' | 'waiting_for' | 'cancel_requested' | 'target_server_alias' | 'creation_timestamp' |
  'started_timestamp' | 'completion_timestamp' | 'queue_position' | 'progress_percentage' | 'step' | 'steps' | 'eta_seconds' |
  'estimated_start_time'>, Partial<Pick<ShortJob, 'preview_url' | 'group' | 'channel' | 'api_key_id' | 'user_id' | 'eta_p90' | 'checkpoint'>> {
  readonly images: ReadonlyArray<ShortImage & Partial<Pick<JobImage, 'role'>>>
  readonly generation_params: Parameters
  readonly estimated_time_remaining?: number | null
  /** In the order of all servers; where it is shown with its server, `queue_position` is. */
  readonly place?: number | null
}

export type Server = ServerView
export type Sample = Static<typeof ServerSample>
export type History = ServerHistory
export type Inventory = InventoryView
export type ServerUpdate = Static<typeof ServerChange>
export type ServerChanged = Static<typeof ServerChangeAnswer>
export type ServerTested = Static<typeof ServerTestAnswer>
export type CheckView = ServerCheckView
export type CheckReport = ServerCheckReport

export type Key = ApiKey
export type IssuedKey = Static<typeof ApiKeyWithSecret>
export type IssuedSecret = Static<typeof WebhookSecretAnswer>
export type NewKey = ApiKeyWithSecret

export type GalleryImage = GalleryImageView
export type GalleryPage = Static<typeof GalleryView>
export type GalleryFilter = GalleryQuery
export type DeletedImages = Static<typeof ImagesDeleted>
export type Zip = Static<typeof ZipAnswer>

export type Model = ModelView
export type ModelPage = Static<typeof ModelListView>
export type ModelFilter = ModelQuery
export type ModelChange = Static<typeof ModelAnswer>
export type Scan = ScanView
export type EqualFiles = Static<typeof DuplicatesView>
export type Deletion = Static<typeof DeletionAnswer>
export type Download = DownloadView
export type AllDownloads = Static<typeof DownloadList>
export type NewDownload = Static<typeof DownloadRequest>
export type StartedDownload = Static<typeof DownloadStarted>

export type Settings = Static<typeof SettingsView>
export type Setting = SettingView
export type Changeable = ChangeableSettings
export type ChangedSettings = Static<typeof SettingsChanged>
export type Retention = Static<typeof RetentionView>
export type Purged = Static<typeof PurgeAnswer>

export type Delivery = DeliveryView
export type Attempt = DeliveryAttemptView
export type WholeDelivery = Static<typeof DeliveryDetail>
export type DeliveryPage = Static<typeof DeliveryList>
export type DeliveryFilter = DeliveryQuery
export type Endpoint = EndpointView

/** An event of the service; `opened` and `closed` are of the connection itself. */
export interface ServiceEvent extends Partial<Omit<EventView, 'kind'>> {
  readonly kind: EventView['kind'] | 'opened' | 'closed'
}

export type ReadFromImage = Static<typeof ReadParameters>
