import type { Flavor } from './settings.ts'

const versions = {
  a1111: '1.10.1',
  forge: 'f2.0.1v1.10.1-previous-669-gdfdcbab6',
  sdcpp: 'stable-diffusion.cpp'
} as const

/** What a server of this flavour calls its version in `info`. */
export function versionOf (flavor: Flavor): string {
  return versions[flavor]
}
