import { DownloadAnswer, DownloadList, DownloadStarted, DownloadView } from './download.ts'
import { CivitaiUser, ImageInfoView, ModelInfo, RefreshAnswer, RefreshRequest } from './model-civitai.ts'
import { DeletionAnswer, DuplicatesView } from './model-disk.ts'
import { HashAnswer, HashInfo, ScanView } from './model-scan.ts'
import { ModelsCacheView, VerifyAnswer } from './model-verify.ts'
import {
  AvailabilityView, ChoiceView, ModelAnswer, ModelCivitai, ModelImage, ModelListView, ModelServer, ModelView,
  RescanAnswer
} from './model.ts'

/** Schemas about models that routes refer to by name. */
export const modelSchemas = [
  ModelServer, ModelImage, ModelCivitai, ModelView, ModelListView, ModelAnswer, RescanAnswer, AvailabilityView,
  ChoiceView,
  ScanView, HashAnswer, HashInfo,
  ModelInfo, RefreshRequest, RefreshAnswer, ImageInfoView, CivitaiUser,
  DeletionAnswer, DuplicatesView, VerifyAnswer, ModelsCacheView,
  DownloadView, DownloadAnswer, DownloadStarted, DownloadList
]
