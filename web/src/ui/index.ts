/** The parts that pages are made of. */

export { Button, ButtonLink } from './Button';
export { CopyButton, copyText } from './CopyButton';
export { Dialog, FormDialog } from './Dialog';
export { Checkbox, Field, Labelled, Select, TextArea } from './Field';
export type { IconName } from './Icon';
export { Icon } from './Icon';
export type { MenuItem } from './Menu';
export { Menu } from './Menu';
export { Page, PageHead } from './Page';
export type { Tone } from './Status';
export { Badge, EmptyState, ErrorNote, Loading, Spinner, errorText } from './Status';
export type { Column } from './Table';
export { Table } from './Table';
export { TabLinks, Tabs } from './Tabs';
export { ToastProvider, useToast } from './Toast';
export { VirtualList } from './VirtualList';
