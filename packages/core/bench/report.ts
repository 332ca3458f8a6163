// What a bench says: a Markdown table for people, one line of JSON for programs, and facts that the table of targets is
// made of. No figure is made here.
import type { Quartiles, Rounds } from './measure.ts'

export interface Table {
  readonly bench: string
  /** A sentence on what was measured. */
  readonly title: string
  readonly columns: readonly string[]
  readonly rows: readonly (readonly string[])[]
  /** The same as numbers, for the line of JSON. */
  readonly data: Readonly<Record<string, unknown>>
}

export interface Report {
  readonly tables: readonly Table[]
  /** Single figures by name: what the speeds to reach are compared with. */
  readonly facts: ReadonlyMap<string, number>
}

export function markdown({ title, columns, rows }: Table): string {
  const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |`
  return [title, '', line(columns), line(columns.map(() => '---')), ...rows.map(line)].join('\n')
}

export function whole(figure: number): string {
  return Math.round(figure).toLocaleString('en')
}

export function withQuartiles({ low, median, high }: Quartiles, text: (figure: number) => string): string {
  return `${text(median)} (${text(low)} … ${text(high)})`
}

export function twoPlaces(figure: number): string {
  return figure.toFixed(2)
}

/** For the JSON: four digits are more than these figures are worth. */
export function rounded(figure: number): number {
  return Number(figure.toPrecision(4))
}

export function roundedQuartiles({ low, median, high }: Quartiles): Quartiles {
  return { low: rounded(low), median: rounded(median), high: rounded(high) }
}

export function calibrationTable({ calibrationMs }: Rounds): Table {
  const figures = calibrationMs.map((ms) => ms.toFixed(1))
  return {
    bench: 'calibration',
    title: 'CPU milliseconds of one fixed piece of work, by round: how steady the machine was.',
    columns: ['', ...figures.map((_, round) => `round ${round + 1}`)],
    rows: [['ms', ...figures]],
    data: { calibrationMs: calibrationMs.map(rounded) },
  }
}
