import { controlNetSchemas } from './studio-controlnet.ts'
import {
  StudioControlNetRequest, StudioControlNetUnit, StudioImg2imgRequest, StudioInpaintRequest, StudioOutpaintRequest,
  StudioFaceRestoreRequest, StudioRegionalRequest, StudioTxt2imgRequest, StudioUpscaleRequest
} from './studio-generation.ts'
import { batchSchemas } from './studio-batch.ts'
import { StudioModels } from './studio-models.ts'
import { StudioQueue } from './studio-queue.ts'
import { loraSchemas } from './studio-lora.ts'
import { presetSchemas } from './studio-preset.ts'
import { StudioAccepted, StudioDone, StudioError, StudioHistory, StudioJob, StudioResult } from './studio-job.ts'
import {
  ImportAnswer, PortableUser, SessionAnswer, SessionChange, SessionLora, StudioMessage, UserImport,
  UserSession
} from './studio-session.ts'

/** Schemas of the interface for bots and phones that routes refer to by name. */
export const studioSchemas = [
  StudioTxt2imgRequest, StudioImg2imgRequest, StudioInpaintRequest, StudioOutpaintRequest, StudioControlNetRequest,
  StudioRegionalRequest, StudioUpscaleRequest, StudioFaceRestoreRequest, StudioControlNetUnit,
  StudioAccepted, StudioJob, StudioResult, StudioHistory, StudioDone, StudioError,
  ...controlNetSchemas,
  ...loraSchemas,
  StudioModels, StudioQueue,
  ...presetSchemas,
  ...batchSchemas,
  PortableUser, UserImport, ImportAnswer, UserSession, SessionLora, SessionChange, SessionAnswer,
  StudioMessage
]
