// Strangers' text as one JSON object: nesting is bounded before anything recursive sees it, and no field can be mistaken
// for a prototype. Imports nothing, for browsers have it too.

/** Objects and arrays within each other, counted over the whole message. */
export const nestingMax = 16

export type Decoded<Message> =
  | { readonly ok: true; readonly message: Message }
  /** For logs and tests: which rule was broken. Never quotes what came. */
  | { readonly ok: false; readonly problem: string }

export type Fields = Readonly<Record<string, unknown>>

export function accept<Message>(message: Message): { readonly ok: true; readonly message: Message } {
  return { ok: true, message }
}

export function refuse(problem: string): { readonly ok: false; readonly problem: string } {
  return { ok: false, problem }
}

export function parseRecord(text: string): Decoded<Fields> {
  if (isNestedDeeper(text, nestingMax)) return refuse(`nested deeper than ${nestingMax}`)
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    return refuse('no JSON')
  }
  if (!isRecord(value)) return refuse('no JSON object')
  // JSON.parse makes an own field of this name; the copies that decoders make must not turn it into a prototype.
  if (Object.hasOwn(value, '__proto__')) return refuse('unknown field __proto__')
  // No prototype: a field that did not come over the wire is undefined, whatever its name.
  return accept(Object.assign(Object.create(null), value) as Fields)
}

/** Looks at brackets outside of strings only; broken JSON is the parser's to find. */
function isNestedDeeper(text: string, depthMax: number): boolean {
  let depth = 0
  let inString = false
  for (let at = 0; at < text.length; at++) {
    const character = text[at]
    if (inString) {
      if (character === '\\') at++
      else if (character === '"') inString = false
    } else if (character === '"') inString = true
    else if (character === '{' || character === '[') {
      depth++
      if (depth > depthMax) return true
    } else if (character === '}' || character === ']') depth--
  }
  return false
}

export function hasOtherFields(fields: Fields, known: readonly string[]): boolean {
  return Object.keys(fields).some((field) => !known.includes(field))
}

export function isRecord(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
