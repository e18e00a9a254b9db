/** A colour for each service, the same on every page as far as the palette reaches. */

export const PALETTE_SIZE = 14;

/** FNV-1a: the same in every browser, and spreads short names well. */
function hash(text: string): number {
  let value = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) {
    value = Math.imul(value ^ text.charCodeAt(i), 0x01000193);
  }
  return value >>> 0;
}

/** The palette entry of a service alone. */
export function colourIndex(service: string): number {
  return hash(service) % PALETTE_SIZE;
}

/**
 * Palette entries for services that are shown together: each keeps its own or the `preferred` one, unless another
 * service has it.
 */
export function assignColours(
  services: readonly string[],
  preferred?: ReadonlyMap<string, number>,
): Map<string, number> {
  const taken = new Set<number>();
  const result = new Map<string, number>();
  for (const service of [...new Set(services)].sort()) {
    let index = preferred?.get(service) ?? colourIndex(service);
    for (let tries = 0; taken.has(index) && tries < PALETTE_SIZE; tries++) index = (index + 5) % PALETTE_SIZE;
    if (taken.size < PALETTE_SIZE) taken.add(index);
    result.set(service, index);
  }
  return result;
}

export function colourVar(index: number | undefined): string {
  return `var(--service-${index ?? 0})`;
}
