/** Questions with choices that an agent puts to its user. */

import type { ReactNode } from 'react';
import { useId, useState } from 'react';
import type { JsonObject } from '../api/types';
import { useT } from '../i18n';
import { Badge, Button } from '../ui';

interface Choice {
  label: string;
  description?: string;
}

interface Asked {
  question: string;
  header?: string;
  multiSelect?: boolean;
  options: Choice[];
}

interface Chosen {
  labels: string[];
  other: string;
  useOther: boolean;
}

const nothingChosen: Chosen = { labels: [], other: '', useOther: false };

/** The questions of a call, each with its choices and a field for another answer. */
export function Questions(props: {
  input: JsonObject;
  busy: string | null;
  onAnswer: (answers: JsonObject) => void;
  onDeny: () => void;
}): ReactNode {
  const t = useT();
  const questions = (Array.isArray(props.input.questions) ? props.input.questions : []) as Asked[];
  const [chosen, setChosen] = useState<Record<string, Chosen>>({});
  const answerOf = (asked: Asked): string => {
    const { labels, other, useOther } = chosen[asked.question] ?? nothingChosen;
    return [...labels, ...(useOther && other.trim() !== '' ? [other.trim()] : [])].join(', ');
  };
  const complete = questions.every((asked) => answerOf(asked) !== '');
  return (
    <form
      className="questions"
      onSubmit={(event) => {
        event.preventDefault();
        if (complete) props.onAnswer(Object.fromEntries(questions.map((asked) => [asked.question, answerOf(asked)])));
      }}
    >
      {questions.map((asked) => (
        <OneQuestion
          key={asked.question}
          asked={asked}
          chosen={chosen[asked.question] ?? nothingChosen}
          onChange={(next) => setChosen((old) => ({ ...old, [asked.question]: next }))}
        />
      ))}
      <div className="row">
        <Button
          type="submit"
          look="primary"
          small
          busy={props.busy === 'allow'}
          disabled={!complete || props.busy !== null}
        >
          {t('permission.answer')}
        </Button>
        <Button small busy={props.busy === 'deny'} disabled={props.busy !== null} onClick={props.onDeny}>
          {t('permission.noAnswer')}
        </Button>
      </div>
    </form>
  );
}

function OneQuestion(props: { asked: Asked; chosen: Chosen; onChange: (chosen: Chosen) => void }): ReactNode {
  const t = useT();
  const name = useId();
  const { asked, chosen } = props;
  const many = asked.multiSelect === true;
  const pick = (label: string, on: boolean): void => {
    if (!many) props.onChange({ ...chosen, labels: [label], useOther: false });
    else
      props.onChange({
        ...chosen,
        labels: on ? [...chosen.labels, label] : chosen.labels.filter((old) => old !== label),
      });
  };
  return (
    <fieldset className="question">
      <legend>
        {asked.header && <Badge>{asked.header}</Badge>} {asked.question}
        {many && <span className="muted"> {t('permission.several')}</span>}
      </legend>
      {asked.options.map((option) => (
        <label key={option.label} className="choice">
          <input
            type={many ? 'checkbox' : 'radio'}
            name={name}
            checked={chosen.labels.includes(option.label)}
            onChange={(event) => pick(option.label, event.target.checked)}
          />
          <span>
            <span className="choice-label">{option.label}</span>
            {option.description && option.description !== option.label && (
              <span className="choice-hint">{option.description}</span>
            )}
          </span>
        </label>
      ))}
      <label className="choice">
        <input
          type={many ? 'checkbox' : 'radio'}
          name={name}
          checked={chosen.useOther}
          onChange={(event) =>
            props.onChange({ ...chosen, labels: many ? chosen.labels : [], useOther: event.target.checked })
          }
        />
        <span className="choice-other">
          <span className="choice-label">{t('permission.other')}</span>
          <input
            className="input"
            aria-label={t('permission.otherAnswer')}
            value={chosen.other}
            onChange={(event) =>
              props.onChange({
                labels: many ? chosen.labels : [],
                other: event.target.value,
                useOther: event.target.value !== '',
              })
            }
          />
        </span>
      </label>
    </fieldset>
  );
}
