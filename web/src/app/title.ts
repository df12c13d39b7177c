/** The document's title: what is shown, and how many questions wait. */

let text = '';
let waiting = 0;

function write(): void {
  document.title = `${waiting > 0 ? `(${waiting}) ` : ''}${text === '' ? '' : `${text} · `}Paddock`;
}

/** Says what is shown. */
export function setTitle(title: string): void {
  text = title;
  write();
}

/** Says how many questions wait; whoever looks at another tab sees it there. */
export function setWaiting(count: number): void {
  waiting = count;
  write();
}
