// Quantiles of the last samples. Pure.

export class Recent {
  private readonly samples: number[] = [];
  private next = 0;

  constructor(private readonly most: number) {}

  add(value: number): void {
    if (this.samples.length < this.most) this.samples.push(value);
    else this.samples[this.next] = value;
    this.next = (this.next + 1) % this.most;
  }

  clear(): void {
    this.samples.length = 0;
    this.next = 0;
  }

  get count(): number {
    return this.samples.length;
  }

  /** The least sample that at least the share `q` of all does not exceed; null without samples. */
  quantile(q: number): number | null {
    if (this.samples.length === 0) return null;
    const sorted = [...this.samples].sort((a, b) => a - b);
    return sorted[Math.min(sorted.length - 1, Math.max(0, Math.ceil(q * sorted.length) - 1))] ?? null;
  }

  least(): number | null {
    let least: number | null = null;
    for (const sample of this.samples) if (least === null || sample < least) least = sample;
    return least;
  }
}
