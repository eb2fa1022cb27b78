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

const same = (names: readonly string[]) => names.map(name => ({ value: name, label: name }))
const orDefault = (label: string, names: readonly string[] = []) => [{ value: '', label }, ...same(names)]
const priorities = Array.from({ length: 10 }, (_, index) => String(10 - index))
  .map(value => ({ value, label: { 10: '10 – first', 5: '5 – normal', 1: '1 – last' }[value] ?? value }))

const sizes = [[512, 512], [768, 768], [1024, 1024], [832, 1216], [1216, 832]]

/** Server and model. */
export function ModelFields ({ form, servers, choices }: {
  form: Form<CreateForm>
  servers: readonly Server[]
  choices?: Offered
}) {
  const [picking, setPicking] = useState(false)
  const aliases = servers.map(({ alias, is_simulator: isSimulator }) =>
    ({ value: alias, label: isSimulator ? `${alias} (simulator)` : alias }))

  function pick (_model: Model, title: string) {
    form.field('checkpoint_name').onValue(title)
    setPicking(false)
  }

  return (
    <>
      <section class='form-section' aria-labelledby='model-fields'>
        <div class='section-head'>
          <h2 id='model-fields'>Model</h2>
          <button type='button' class='button quiet' onClick={() => setPicking(true)}><Icon name='gallery' />Browse checkpoints</button>
        </div>
        <div class='fields'>
          <SelectField
            label='Checkpoint' {...form.field('checkpoint_name')}
            options={orDefault('Current model', choices?.checkpoints)}
          />
          <SelectField
            label='Server' {...form.field('target_server_alias')}
            options={[{ value: '', label: 'Automatic' }, ...aliases]}
          />
          <SelectField
            label='VAE' {...form.field('vae')}
            options={orDefault('Server default', ['Automatic', 'None', ...choices?.vaes ?? []])}
          />
          <NumberField label='Clip skip' placeholder='1' min='1' max='12' {...form.field('clip_skip')} />
          <SelectField label='Priority' {...form.field('priority')} options={priorities} />
        </div>
      </section>
      {picking && (
        <ModelPicker
          type='checkpoint' title='Choose a checkpoint' server={form.values.target_server_alias} onPick={pick}
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
      <h2 id='sampling-fields'>Sampling</h2>
      <div class='fields'>
        <SelectField
          label='Sampler' {...form.field('sampler_name')}
          options={orDefault('Default', choices?.samplers)}
        />
        <SelectField
          label='Scheduler' {...form.field('scheduler')}
          options={orDefault('Default', choices?.schedulers)}
        />
      </div>
      <div class='fields numbers-only'>
        <NumberField label='Steps' min='1' max='150' {...form.field('steps')} />
        <NumberField label='CFG scale' step='0.5' min='0' max='100' {...form.field('cfg_scale')} />
        <NumberField label='Seed' placeholder='random' {...form.field('seed')} />
      </div>
    </section>
  )
}

/** Size and number of images. */
export function PictureFields ({ form }: { form: Form<CreateForm> }) {
  const { width, height } = form.values
  const images = Number(form.values.n_iter) * Number(form.values.batch_size)
  return (
    <section class='form-section' aria-labelledby='picture-fields'>
      <h2 id='picture-fields'>Size and number</h2>
      <div class='fields numbers-only'>
        <NumberField label='Width' step='8' min='8' max='4096' {...form.field('width')} />
        <NumberField label='Height' step='8' min='8' max='4096' {...form.field('height')} />
        <NumberField label='Batch count' min='1' max='100' {...form.field('n_iter')} />
        <NumberField label='Batch size' min='1' max='64' {...form.field('batch_size')} />
      </div>
      {images > 1 && <p class='hint' role='status'>= {images} images</p>}
      <div class='sizes' role='group' aria-label='Common sizes'>
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
    <section class='form-section' aria-label='Hires fix'>
      <CheckField label='Hires fix' hint='Generates small, upscales, then refines.' {...form.field('enable_hr')} />
      {form.values.enable_hr && (
        <div class='fields'>
          <NumberField label='Upscale by' step='0.25' min='1' max='8' {...form.field('hr_scale')} />
          <SelectField label='Upscaler' {...form.field('hr_upscaler')} options={upscalers} />
          <NumberField
            label='Denoising' hint='0 = unchanged, 1 = completely new' step='0.05'
            min='0' max='1' {...form.field('denoising_strength')}
          />
          <NumberField
            label='Hires steps' placeholder='as steps' min='0' max='150'
            {...form.field('hr_second_pass_steps')}
          />
        </div>
      )}
    </section>
  )
}

const resizeModes = ([['0', 'Stretch'], ['1', 'Crop'], ['2', 'Fill'], ['3', 'Latent upscale']] as const).map(([value, label]) => ({ value, label }))
const fills = ([['0', 'Fill'], ['1', 'Original'], ['2', 'Latent noise'], ['3', 'Latent nothing']] as const).map(([value, label]) => ({ value, label }))

/** What happens to an image of another ratio, by resize mode. */
const ofOtherRatio: Readonly<Record<string, string>> = {
  0: 'it will be distorted', 1: 'its edges will be cut off', 2: 'its edges will be filled', 3: 'it will be distorted'
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
  const differs = size !== null && Math.abs(size.width / size.height - Number(width) / Number(height)) > 0.01
  return (
    <section class='form-section' aria-labelledby='start-fields'>
      <h2 id='start-fields'>Start image</h2>
      <ImageDrop label='Image to start from' {...form.field('init_images')}>
        {start !== null && (
          <button type='button' class='button quiet' onClick={() => onTake(start)}><Icon name='copy' />Take its parameters</button>
        )}
      </ImageDrop>
      {differs && (
        <div class='notice warning-notice' role='status'>
          <p>The image is {size.width} × {size.height}, the result {width} × {height}: {ofOtherRatio[mode] ?? ofOtherRatio['1']}.</p>
          <button
            type='button' class='button'
            onClick={() => form.setValues({ ...form.values, ...sizeTexts(size) })}
          >Use the size of the image
          </button>
        </div>
      )}
      <ImageDrop
        label='Mask'
        hint='The white part is generated again; without a mask, the whole image.' {...form.field('mask')}
      />
      <div class='fields'>
        <NumberField
          label='Denoising' hint='0 = unchanged, 1 = completely new' step='0.05' min='0'
          max='1' {...form.field('denoising_strength')}
        />
        <SelectField label='Resize mode' {...form.field('resize_mode')} options={resizeModes} />
        {form.values.mask !== null && (
          <>
            <SelectField label='Masked content' {...form.field('inpainting_fill')} options={fills} />
            <NumberField label='Mask blur' min='0' max='1024' {...form.field('mask_blur')} />
          </>
        )}
      </div>
      {form.values.mask !== null && <CheckField label='Inpaint only masked' {...form.field('inpaint_full_res')} />}
    </section>
  )
}
