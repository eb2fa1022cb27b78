import type { Model } from '../lib/api-types.ts'
import { useState } from 'preact/hooks'
import { lorasIn, withLora, withoutLora, withWeight } from '../lib/prompt-loras.ts'
import { Icon } from './icon.tsx'
import { ModelPicker } from './model-picker.tsx'
import { common } from '../texts/en/common.ts'
import { t } from '../texts/en/create.ts'

/** The LoRAs of a prompt, with sliders for their weights. They change the prompt, which a job gets. */
export function LoraSliders ({ prompt, server, onPrompt }: {
  prompt: string
  server: string
  onPrompt: (prompt: string) => void
}) {
  const [picking, setPicking] = useState(false)
  const loras = lorasIn(prompt)

  function pick (model: Model, title: string) {
    onPrompt(withLora(prompt, title, model.recommended_weight ?? 1, model.trigger_words.slice(0, 1)))
    setPicking(false)
  }

  return (
    <>
      <div class='loras'>
        {loras.length > 0 && (
          <ul aria-label={common.loras}>
            {loras.map(({ name, weight, index }) => (
              <li key={index} class='lora'>
                <span class='one-line' title={name}>{name}</span>
                <input
                  type='range' min='-1' max='2' step='0.05' value={weight} aria-label={t.weightOf(String(name))}
                  onInput={event => onPrompt(withWeight(prompt, index, event.currentTarget.value))}
                />
                <output class='numbers'>{weight}</output>
                <button
                  type='button' class='button quiet icon-only' aria-label={t.removeName(String(name))} title={t.remove}
                  onClick={() => onPrompt(withoutLora(prompt, index))}
                ><Icon name='close' />
                </button>
              </li>
            ))}
          </ul>
        )}
        <button type='button' class='button' onClick={() => setPicking(true)}><Icon name='create' />{t.addLora}</button>
      </div>
      {picking && <ModelPicker
        type='lora' title={t.addLora} server={server} onPick={pick}
        onClose={() => setPicking(false)}
                  />}
    </>
  )
}
