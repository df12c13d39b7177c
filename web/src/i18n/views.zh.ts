/** The same in Chinese. */
import type { viewsEn } from './views.en';

export const viewsZh: Record<keyof typeof viewsEn, string> = {
  'files.title': '文件',
};
