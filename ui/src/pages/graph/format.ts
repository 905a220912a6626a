/** Numbers as people read them: three significant figures at most, the unit after one space. */

export function formatRate(perSecond: number): string {
  return `${formatNumber(perSecond)} /s`;
}

/** @param share 0 to 1 */
export function formatShare(share: number): string {
  const percent = share * 100;
  if (percent === 0) return "0 %";
  if (percent < 0.1) return "< 0.1 %";
  if (percent > 99.9 && percent < 100) return "> 99.9 %";
  return `${percent < 9.95 ? trim(percent.toFixed(1)) : percent.toFixed(0)} %`;
}

export function formatMilliseconds(ms: number | null): string {
  if (ms === null) return "–";
  if (ms < 1) return "< 1 ms";
  if (ms < 10) return `${trim(ms.toFixed(1))} ms`;
  if (ms < 1000) return `${ms.toFixed(0)} ms`;
  return `${trim((ms / 1000).toFixed(ms < 10_000 ? 1 : 0))} s`;
}

export function formatBytes(bytesPerSecond: number): string {
  const units = ["B", "kB", "MB", "GB"];
  let value = bytesPerSecond;
  let unit = 0;
  while (value >= 999.5 && unit < units.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${formatNumber(value)} ${units[unit]}/s`;
}

export function formatNumber(value: number): string {
  if (value === 0) return "0";
  if (value < 0.01) return "< 0.01";
  if (value < 1) return trim(value.toFixed(2));
  if (value < 99.95) return trim(value.toFixed(1));
  if (value < 9999.5) return value.toFixed(0);
  return `${trim((value / 1000).toFixed(1))} k`;
}

/** A window of seconds: "1 min", "1 h". */
export function formatWindow(seconds: number): string {
  if (seconds % 3600 === 0) return `${seconds / 3600} h`;
  if (seconds % 60 === 0) return `${seconds / 60} min`;
  return `${seconds} s`;
}

/** "minute", "5 minutes": to follow "the last". */
export function wordWindow(seconds: number): string {
  const [count, word] = seconds % 3600 === 0 ? [seconds / 3600, "hour"] : [Math.round(seconds / 60), "minute"];
  return count === 1 ? `${word}` : `${count} ${word}s`;
}

function trim(text: string): string {
  return text.includes(".") ? text.replace(/\.?0+$/, "") : text;
}
