import type { Parameters, ParametersToRead } from '../lib/api-types.ts'
import { dataUrlOf, imageIn, imageTypes } from '../lib/images.ts'
import { useEffect, useId, useRef, useState } from 'preact/hooks'
import { complain, say } from '../lib/messages.ts'
import { readParameters } from '../lib/service.ts'
import { Icon } from './icon.tsx'
import { t } from '../texts/en/create.ts'

/** The infotext that A1111 and other programs write into images, and that people copy from elsewhere. */
const looksLikeParameters =
  /(^|\n)Steps: \d+, |^\s*\{[^]*"(class_type|sui_image_params|metadata_scheme|positive_prompt|v4_prompt)"\s*:/

export interface ParameterTaker {
  readonly take: (source: ParametersToRead) => Promise<void>
  readonly takeImage: (file: File | undefined) => Promise<void>
}

/** Reads the parameters of an image or a text. */
export function parameterTaker (onParameters: (parameters: Parameters) => void): ParameterTaker {
  async function take (source: ParametersToRead) {
    try {
      const { generation_params: parameters, notes = [] } = await readParameters(source)
      if (Object.keys(parameters).length === 0) {
        throw new Error(notes.join(' ') || t.noParametersFound)
      }
      onParameters(parameters)
      say([t.parametersLoaded, ...notes].join(' '))
    } catch (error) {
      complain(error)
    }
  }

  async function takeImage (file: File | undefined) {
    if (file !== undefined) await take({ image: await dataUrlOf(file) })
  }

  return { take, takeImage }
}

/**
 * Reads the parameters from an image that the user drops, pastes or chooses, and from pasted text.
 * @param props onImage: gets dropped and pasted images instead, where the user starts from an image
 */
export function TakeParameters ({ taker, onImage }: {
  taker: ParameterTaker
  onImage: ((image: File) => void) | null
}) {
  const id = useId()
  const [over, setOver] = useState(false)

  const { take, takeImage } = taker
  // The listeners below are added once.
  const latest = useRef(onImage)
  latest.current = onImage
  const takeDropped = (file: File | undefined) => {
    if (file !== undefined && latest.current !== null) latest.current(file)
    else takeImage(file)
  }

  useEffect(() => {
    function onPaste (event: ClipboardEvent) {
      const file = imageIn(event.clipboardData)
      const text = event.clipboardData?.getData('text/plain') ?? ''
      if (file === undefined && !looksLikeParameters.test(text)) return
      event.preventDefault()
      if (file === undefined) take({ text })
      else takeDropped(file)
    }
    function onDragOver (event: DragEvent) {
      if (!event.dataTransfer?.types.includes('Files')) return
      event.preventDefault()
      setOver(true)
    }
    function onDragLeave (event: DragEvent) {
      if (event.relatedTarget === null) setOver(false)
    }
    function onDrop (event: DragEvent) {
      setOver(false)
      if (event.defaultPrevented) return
      event.preventDefault()
      takeDropped(imageIn(event.dataTransfer))
    }
    const stop = new AbortController()
    window.addEventListener('paste', onPaste, stop)
    // Before the shell, which refuses what nothing takes.
    document.addEventListener('dragover', onDragOver, stop)
    document.addEventListener('dragleave', onDragLeave, stop)
    document.addEventListener('drop', onDrop, stop)
    return () => stop.abort()
  }, [])

  return (
    <>
      <span class='take'>
        <input
          type='file' id={id} accept={imageTypes.join()} class='out-of-sight'
          onChange={event => { takeImage(imageIn(event.currentTarget)); event.currentTarget.value = '' }}
        />
        <label class='button' for={id} title={onImage === null ? t.orDropOrPasteAnywhere : undefined}><Icon name='image' />{t.loadParametersFromImage}</label>
      </span>
      {over && <p class='drop-anywhere' aria-hidden='true'>{onImage === null ? t.dropImageToLoad : t.dropImageToStart}</p>}
    </>
  )
}
