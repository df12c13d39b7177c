/** What the rows of a conversation can ask of the page around them. */

import { createContext, useContext } from 'react';
import type { Kept } from './checkpoints';
import type { Turn } from './model';

/** What can be done with a turn. What is absent cannot be done here. */
export interface Actions {
  fork?: (turn: Turn) => void;
  rewind?: (turn: Turn) => void;
  /** Of which turns it is kept what the workspace was like before and after them. */
  kept?: Kept;
  /** Where a file of the workspace is shown; null for what is not in it. */
  fileLink?: (path: string) => string | null;
}

const ActionsContext = createContext<Actions>({});

/** Gives the actions to what is inside. */
export const ActionsProvider = ActionsContext.Provider;

/** The actions. */
export function useActions(): Actions {
  return useContext(ActionsContext);
}
