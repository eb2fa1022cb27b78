import {
  ControlNetModels, ControlNetModules, ControlNetTypes, PreprocessAnswer, PreprocessRequest
} from './studio-controlnet.ts'
import { StudioImg2imgRequest, StudioTxt2imgRequest } from './studio-generation.ts'
import { StudioAccepted, StudioDone, StudioError, StudioHistory, StudioJob, StudioResult } from './studio-job.ts'
import {
  LoraChoices, LoraEdit, LoraInfo, LoraList, LoraScan, LoraTags
} from './studio-lora.ts'
import { ControlNetConfig, SessionAnswer, SessionChange, SessionLora, StudioMessage, UserSession } from './studio-session.ts'

/** Schemas of the interface for bots and phones that routes refer to by name. */
export const studioSchemas = [
  StudioTxt2imgRequest, StudioImg2imgRequest,
  StudioAccepted, StudioJob, StudioResult, StudioHistory, StudioDone, StudioError,
  ControlNetModels, ControlNetModules, ControlNetTypes, PreprocessRequest, PreprocessAnswer,
  LoraInfo, LoraList, LoraChoices, LoraTags, LoraScan, LoraEdit,
  UserSession, SessionLora, SessionChange, SessionAnswer, ControlNetConfig, StudioMessage
]
