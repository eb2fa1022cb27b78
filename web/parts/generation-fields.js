import { html } from '../lib/html.js'
import { CheckField, NumberField, SelectField } from './field.js'
import { ImageDrop } from './image-drop.js'

const same = names => names.map(name => ({ value: name, label: name }))
const orDefault = (label, names = []) => [{ value: '', label }, ...same(names)]

const sizes = [[512, 512], [768, 768], [1024, 1024], [832, 1216], [1216, 832]]

/** Who draws, and with what. */
export function ModelFields ({ form, servers, choices }) {
  const aliases = servers.map(({ alias, is_simulator: isSimulator }) => ({ value: alias, label: isSimulator ? `${alias} (simulator)` : alias }))
  return html`
    <div class="fields">
      <${SelectField} label="Server" ...${form.field('target_server_alias')} options=${[{ value: '', label: 'The best one' }, ...aliases]} />
      <${SelectField} label="Checkpoint" ...${form.field('checkpoint_name')} options=${orDefault('Whatever is loaded', choices?.checkpoints)} />
      <${SelectField} label="Sampler" ...${form.field('sampler_name')} options=${orDefault('Default', choices?.samplers)} />
      <${SelectField} label="Scheduler" ...${form.field('scheduler')} options=${orDefault('Default', choices?.schedulers)} />
    </div>`
}

/** Size, steps and the like. */
export function PictureFields ({ form }) {
  const { width, height } = form.values
  return html`
    <div class="fields numbers-only">
      <${NumberField} label="Width" step="8" min="64" max="4096" ...${form.field('width')} />
      <${NumberField} label="Height" step="8" min="64" max="4096" ...${form.field('height')} />
      <div class="field wide sizes" role="group" aria-label="Common sizes">
        ${sizes.map(([wide, high]) => html`
          <button key=${`${wide}${high}`} type="button" class="tab numbers" aria-pressed=${width === String(wide) && height === String(high) ? 'true' : 'false'}
            onClick=${() => form.setValues({ ...form.values, width: String(wide), height: String(high) })}>${wide} × ${high}</button>`)}
      </div>
      <${NumberField} label="Steps" min="1" max="150" ...${form.field('steps')} />
      <${NumberField} label="CFG scale" step="0.5" min="0" max="100" ...${form.field('cfg_scale')} />
      <${NumberField} label="Seed" placeholder="random" ...${form.field('seed')} />
      <${NumberField} label="Images" min="1" max="100" ...${form.field('n_iter')} />
    </div>`
}

/** Starting from an image, or drawing twice. */
export function StartFields ({ form, choices }) {
  const hasImage = form.values.init_images !== null
  const upscalers = same([...choices?.latent_upscale_modes ?? [], ...choices?.upscalers ?? []])
  return html`
    <${ImageDrop} label="Image to start from" ...${form.field('init_images')} />
    ${!hasImage && html`<${CheckField} label="Hires fix" hint="Draws small, enlarges, and draws over." ...${form.field('enable_hr')} />`}
    ${(hasImage || form.values.enable_hr) && html`
      <div class="fields">
        <${NumberField} label="Denoising" hint="0 keeps everything, 1 draws anew." step="0.05" min="0" max="1" ...${form.field('denoising_strength')} />
        ${!hasImage && html`
          <${NumberField} label="Enlargement" step="0.25" min="1" max="8" ...${form.field('hr_scale')} />
          <${SelectField} label="Upscaler" ...${form.field('hr_upscaler')} options=${upscalers} />`}
      </div>`}`
}
