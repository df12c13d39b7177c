/** Fields of forms, each with its label, its hint and what is wrong with it. */

import type { InputHTMLAttributes, ReactNode, SelectHTMLAttributes, TextareaHTMLAttributes } from 'react';
import { useId } from 'react';
import { useT } from '../i18n';

interface Around {
  label: string;
  hint?: ReactNode;
  error?: string | null | undefined;
  optional?: boolean;
  /** Whether the label is for screen readers alone. */
  hideLabel?: boolean;
}

interface Wired {
  id: string;
  'aria-describedby': string | undefined;
  'aria-invalid': true | undefined;
}

/** A label with a field that the function makes; its attributes tie the two together. */
export function Labelled(props: Around & { children: (wired: Wired) => ReactNode }): ReactNode {
  const t = useT();
  const id = useId();
  const hint = props.hint ? `${id}-hint` : undefined;
  const error = props.error ? `${id}-error` : undefined;
  const wired: Wired = {
    id,
    'aria-describedby': [hint, error].filter(Boolean).join(' ') || undefined,
    'aria-invalid': props.error ? true : undefined,
  };
  return (
    <div className="field">
      <label htmlFor={id} className={props.hideLabel ? 'sr-only' : 'field-label'}>
        {props.label}
        {props.optional && <span className="field-optional"> · {t('common.optional')}</span>}
      </label>
      {props.children(wired)}
      {props.hint && (
        <p id={hint} className="field-hint">
          {props.hint}
        </p>
      )}
      {props.error && (
        <p id={error} className="field-error" role="alert">
          {props.error}
        </p>
      )}
    </div>
  );
}

/** A line of text. */
export function Field(props: Around & InputHTMLAttributes<HTMLInputElement>): ReactNode {
  const { label, hint, error, optional, hideLabel, className, ...rest } = props;
  return (
    <Labelled {...{ label, hint, error, optional, hideLabel }}>
      {(wired) => <input {...rest} {...wired} className={className ? `input ${className}` : 'input'} />}
    </Labelled>
  );
}

/** Several lines of text. */
export function TextArea(props: Around & TextareaHTMLAttributes<HTMLTextAreaElement>): ReactNode {
  const { label, hint, error, optional, hideLabel, className, ...rest } = props;
  return (
    <Labelled {...{ label, hint, error, optional, hideLabel }}>
      {(wired) => <textarea {...rest} {...wired} className={className ? `input ${className}` : 'input'} />}
    </Labelled>
  );
}

/** One of several values. */
export function Select(
  props: Around & { options: readonly { value: string; label: string }[] } & SelectHTMLAttributes<HTMLSelectElement>,
): ReactNode {
  const { label, hint, error, optional, hideLabel, options, className, ...rest } = props;
  return (
    <Labelled {...{ label, hint, error, optional, hideLabel }}>
      {(wired) => (
        <select {...rest} {...wired} className={className ? `input select ${className}` : 'input select'}>
          {options.map((option) => (
            <option key={option.value} value={option.value}>
              {option.label}
            </option>
          ))}
        </select>
      )}
    </Labelled>
  );
}

/** Yes or no. */
export function Checkbox(
  props: { label: ReactNode; hint?: ReactNode } & InputHTMLAttributes<HTMLInputElement>,
): ReactNode {
  const { label, hint, ...rest } = props;
  const id = useId();
  return (
    <div className="check">
      <input type="checkbox" {...rest} id={id} aria-describedby={hint ? `${id}-hint` : undefined} />
      <div>
        <label htmlFor={id}>{label}</label>
        {hint && (
          <p id={`${id}-hint`} className="field-hint">
            {hint}
          </p>
        )}
      </div>
    </div>
  );
}
