/** Short messages at the edge, which screen readers read out. */

import type { ReactNode } from 'react';
import { createContext, useCallback, useContext, useMemo, useState } from 'react';
import { Icon } from './Icon';
import { errorText } from './Status';

interface Toasts {
  /** Tells that something is done. */
  say: (text: string) => void;
  /** Tells that something went wrong. */
  fail: (error: unknown) => void;
}

interface Shown {
  id: number;
  text: string;
  bad: boolean;
}

const ToastContext = createContext<Toasts>({ say: () => {}, fail: () => {} });
const SHOWN_MS = 6000;
let last = 0;

/** `const toast = useToast(); toast.say(t('common.copied'))`. */
export function useToast(): Toasts {
  return useContext(ToastContext);
}

/** Shows what is inside, and the messages over it. */
export function ToastProvider(props: { children: ReactNode }): ReactNode {
  const [shown, setShown] = useState<Shown[]>([]);
  const put = useCallback((text: string, bad: boolean): void => {
    last += 1;
    const id = last;
    setShown((old) => [...old.slice(-2), { id, text, bad }]);
    setTimeout(() => setShown((old) => old.filter((toast) => toast.id !== id)), bad ? SHOWN_MS * 2 : SHOWN_MS);
  }, []);
  const value = useMemo<Toasts>(
    () => ({ say: (text) => put(text, false), fail: (error) => put(errorText(error), true) }),
    [put],
  );
  return (
    <ToastContext.Provider value={value}>
      {props.children}
      <div className="toasts" role="status" aria-live="polite">
        {shown.map((toast) => (
          <div key={toast.id} className={toast.bad ? 'toast toast-bad' : 'toast'}>
            <Icon name={toast.bad ? 'alert' : 'check'} size={16} />
            <span>{toast.text}</span>
          </div>
        ))}
      </div>
    </ToastContext.Provider>
  );
}
