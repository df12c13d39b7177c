/** What the views of files, changes, usage, administration, logs and shares say. */
export const viewsEn = {
  'files.title': 'Files',
} as const;
