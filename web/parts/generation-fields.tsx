import { sizeText } from '../lib/format.ts'
import type { Form } from '../lib/form.ts'
import type { CreateForm } from '../lib/generation.ts'
import type { Model, Server } from '../lib/api-types.ts'
import type { Offered } from '../lib/inventory.ts'
import { useEffect, useState } from 'preact/hooks'
import { sizeOf } from '../lib/images.ts'
import { CheckField, NumberField, SelectField } from './field.tsx'
import { Icon } from './icon.tsx'
import { ImageDrop } from './image-drop.tsx'
import { ModelPicker } from './model-picker.tsx'
import { common } from '../texts/en/common.ts'
import { t } from '../texts/en/create.ts'

const same = (names: readonly string[]) => names.map(name => ({ value: name, label: name }))
const orDefault = (label: string, names: readonly string[] = []) => [{ value: '', label }, ...same(names)]
const priorities = Array.from({ length: 10 }, (_, index) => String(10 - index))
  .map(value => ({ value, label: { 10: t.priorityFirst, 5: t.priorityNormal, 1: t.priorityLast }[value] ?? value }))

const sizes = [[512, 512], [768, 768], [1024, 1024], [832, 1216], [1216, 832]]

/** Server and model. */
export function ModelFields ({ form, servers, choices }: {
  form: Form<CreateForm>
  servers: readonly Server[]
  choices?: Offered
}) {
  const [picking, setPicking] = useState(false)
  const aliases = servers.map(({ alias, is_simulator: isSimulator }) =>
    ({ value: alias, label: isSimulator ? t.simulatorAlias(alias) : alias }))

  function pick (_model: Model, title: string) {
    form.field('checkpoint_name').onValue(title)
    setPicking(false)
  }

  return (
    <>
      <section class='form-section' aria-labelledby='model-fields'>
        <div class='section-head'>
          <h2 id='model-fields'>{t.model}</h2>
          <button type='button' class='button quiet' onClick={() => setPicking(true)}><Icon name='gallery' />{t.browseCheckpoints}</button>
        </div>
        <div class='fields'>
          <SelectField
            label={common.checkpoint} {...form.field('checkpoint_name')}
            options={orDefault(t.currentModel, choices?.checkpoints)}
          />
          <SelectField
            label={common.server} {...form.field('target_server_alias')}
            options={[{ value: '', label: t.automatic }, ...aliases]}
          />
          <SelectField
            label={common.vae} {...form.field('vae')}
            options={orDefault(t.serverDefault, [t.automatic, t.none, ...choices?.vaes ?? []])}
          />
          <NumberField label={t.clipSkip} placeholder='1' min='1' max='12' {...form.field('clip_skip')} />
          <SelectField label={t.priority} {...form.field('priority')} options={priorities} />
        </div>
        <CheckField label={t.inBackground} hint={t.inBackgroundHint} {...form.field('background')} />
      </section>
      {picking && (
        <ModelPicker
          type='checkpoint' title={t.chooseCheckpoint} server={form.values.target_server_alias} onPick={pick}
          onClose={() => setPicking(false)}
        />
      )}
    </>
  )
}

/** Sampling. */
export function SamplingFields ({ form, choices }: { form: Form<CreateForm>, choices?: Offered }) {
  return (
    <section class='form-section' aria-labelledby='sampling-fields'>
      <h2 id='sampling-fields'>{t.sampling}</h2>
      <div class='fields'>
        <SelectField
          label={common.sampler} {...form.field('sampler_name')}
          options={orDefault(t.default, choices?.samplers)}
        />
        <SelectField
          label={common.scheduler} {...form.field('scheduler')}
          options={orDefault(t.default, choices?.schedulers)}
        />
      </div>
      <div class='fields numbers-only'>
        <NumberField label={common.steps} min='1' max='150' {...form.field('steps')} />
        <NumberField label={common.cfgScale} step='0.5' min='0' max='100' {...form.field('cfg_scale')} />
        <NumberField label={common.seed} placeholder={t.random} {...form.field('seed')} />
      </div>
    </section>
  )
}

/** Size and number of images. */
export function PictureFields ({ form }: { form: Form<CreateForm> }) {
  const { width, height } = form.values
  const counts = [form.values.n_iter, form.values.batch_size].map(Number)
  const isValid = counts.every(count => Number.isInteger(count) && count > 0)
  const images = isValid ? counts.reduce((product, count) => product * count) : 0
  return (
    <section class='form-section' aria-labelledby='picture-fields'>
      <h2 id='picture-fields'>{t.sizeAndNumber}</h2>
      <div class='fields numbers-only'>
        <NumberField label={t.width} step='8' min='8' max='4096' {...form.field('width')} />
        <NumberField label={t.height} step='8' min='8' max='4096' {...form.field('height')} />
        <NumberField label={t.batchCount} min='1' max='100' {...form.field('n_iter')} />
        <NumberField label={t.batchSize} min='1' max='64' {...form.field('batch_size')} />
      </div>
      {images > 1 && <p class='hint' role='status'>{t.imagesInAll(images)}</p>}
      <div class='sizes' role='group' aria-label={t.commonSizes}>
        {sizes.map(([wide, high]) => (
          <button
            key={`${wide}${high}`} type='button' class='tab numbers' aria-pressed={width === String(wide) && height === String(high) ? 'true' : 'false'}
            onClick={() => form.setValues({ ...form.values, width: String(wide), height: String(high) })}
          >{wide} × {high}
          </button>
        ))}
      </div>
    </section>
  )
}

/** Hires. fix: generates a small image first, then enlarges it. */
export function HiresFields ({ form, choices }: { form: Form<CreateForm>, choices?: Offered }) {
  const upscalers = same([...choices?.latent_upscale_modes ?? [], ...choices?.upscalers ?? []])
  return (
    <section class='form-section' aria-label={t.hiresFix}>
      <CheckField label={t.hiresFix} hint={t.hiresHint} {...form.field('enable_hr')} />
      {form.values.enable_hr && (
        <div class='fields'>
          <NumberField label={t.upscaleBy} step='0.25' min='1' max='8' {...form.field('hr_scale')} />
          <SelectField label={common.upscaler} {...form.field('hr_upscaler')} options={upscalers} />
          <NumberField
            label={common.denoising} hint={t.denoisingHint} step='0.05'
            min='0' max='1' {...form.field('denoising_strength')}
          />
          <NumberField
            label={t.hiresSteps} placeholder={t.asSteps} min='0' max='150'
            {...form.field('hr_second_pass_steps')}
          />
        </div>
      )}
    </section>
  )
}

const resizeModes = ([['0', t.stretch], ['1', t.crop], ['2', t.fill], ['3', t.latentUpscale]] as const).map(([value, label]) => ({ value, label }))
const fills = ([['0', t.fill], ['1', t.original], ['2', t.latentNoise], ['3', t.latentNothing]] as const).map(([value, label]) => ({ value, label }))

/** What happens to an image of another ratio, by resize mode. */
const ofOtherRatio: Readonly<Record<string, string>> = {
  0: t.distorted, 1: t.edgesCutOff, 2: t.edgesFilled, 3: t.distorted
}

const multipleOf8 = (pixels: number) => String(Math.max(8, Math.round(pixels / 8) * 8))

function sizeTexts ({ width, height }: { width: number, height: number }) {
  return { width: multipleOf8(width), height: multipleOf8(height) }
}

/** The size of an image in pixels; null until it is known. */
function useImageSize (file: File | null) {
  const [size, setSize] = useState<{ width: number, height: number } | null>(null)
  useEffect(() => {
    let isWanted = true
    setSize(null)
    if (file !== null) {
      sizeOf(file).then(found => { if (isWanted) setSize(found) }, () => {})
    }
    return () => { isWanted = false }
  }, [file])
  return size
}

/** img2img: starts from an image, or changes only the white parts of a mask. */
export function StartFields ({ form, onTake }: { form: Form<CreateForm>, onTake: (image: File) => void }) {
  const { init_images: start, width, height, resize_mode: mode } = form.values
  const size = useImageSize(start)
  const ratio = Number(width) / Number(height)
  const differs = size !== null && ratio > 0 && ratio < Infinity && Math.abs(size.width / size.height - ratio) > 0.01
  return (
    <section class='form-section' aria-labelledby='start-fields'>
      <h2 id='start-fields'>{t.startImage}</h2>
      <ImageDrop label={t.imageToStartFrom} {...form.field('init_images')}>
        {start !== null && (
          <button type='button' class='button quiet' onClick={() => onTake(start)}><Icon name='copy' />{t.takeItsParameters}</button>
        )}
      </ImageDrop>
      {differs && (
        <div class='notice warning-notice' role='status'>
          <p>{t.otherRatio({ image: sizeText(size), result: `${width} × ${height}`, outcome: ofOtherRatio[mode] ?? t.edgesCutOff })}</p>
          <button
            type='button' class='button'
            onClick={() => form.setValues({ ...form.values, ...sizeTexts(size) })}
          >{t.useSizeOfImage}
          </button>
        </div>
      )}
      <ImageDrop
        label={t.mask}
        hint={t.maskHint} {...form.field('mask')}
      />
      <StartOptions form={form} isMasked={form.values.mask !== null} />
    </section>
  )
}

/** How a job uses its start image and its mask. */
export function StartOptions ({ form, isMasked }: { form: Form<CreateForm>, isMasked: boolean }) {
  return (
    <div class='stack'>
      <div class='fields'>
        <NumberField
          label={common.denoising} hint={t.denoisingHint} step='0.05' min='0'
          max='1' {...form.field('denoising_strength')}
        />
        <SelectField label={t.resizeMode} {...form.field('resize_mode')} options={resizeModes} />
        {isMasked && (
          <>
            <SelectField label={t.maskedContent} {...form.field('inpainting_fill')} options={fills} />
            <NumberField label={t.maskBlur} min='0' max='1024' {...form.field('mask_blur')} />
          </>
        )}
      </div>
      {isMasked && <CheckField label={t.inpaintOnlyMasked} {...form.field('inpaint_full_res')} />}
    </div>
  )
}
