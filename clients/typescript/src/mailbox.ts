/** Events on their way from a connection to the loop that takes them. */

interface Waiter<T> {
  resolve(result: IteratorResult<T, undefined>): void;
  reject(error: unknown): void;
}

/** A bounded queue that is taken from by awaiting, and ends in order or with an error. */
export class Mailbox<T> {
  #items: T[] = [];
  #waiters: Waiter<T>[] = [];
  #end: { error: unknown } | 'in order' | undefined;

  /**
   * @param most how many items it holds
   * @param onWait is called whenever somebody waits because it is empty
   */
  constructor(
    private readonly most: number,
    private readonly onWait: () => void,
  ) {}

  /** Whether it takes no more for now. */
  get isFull(): boolean {
    return this.#waiters.length === 0 && this.#items.length >= this.most;
  }

  /** Puts an item in; whoever does looks first whether it is full. */
  put(item: T): void {
    const waiter = this.#waiters.shift();
    if (waiter !== undefined) waiter.resolve({ value: item, done: false });
    else this.#items.push(item);
  }

  /** The next item. Once it has ended: the items that are left, then the error, once, then the end. */
  take(): Promise<IteratorResult<T, undefined>> {
    const item = this.#items.shift();
    if (item !== undefined) return Promise.resolve({ value: item, done: false });
    if (this.#end === 'in order') return Promise.resolve({ value: undefined, done: true });
    if (this.#end !== undefined) {
      const { error } = this.#end;
      this.#end = 'in order';
      return Promise.reject(error);
    }
    return new Promise((resolve, reject) => {
      this.#waiters.push({ resolve, reject });
      this.onWait();
    });
  }

  /** Ends it. The first end counts. */
  end(error?: { error: unknown }): void {
    if (this.#end !== undefined) return;
    this.#end = error ?? 'in order';
    for (const waiter of this.#waiters.splice(0)) this.take().then(waiter.resolve, waiter.reject);
  }
}
