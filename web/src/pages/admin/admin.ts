/** The shapes of administration. */

import type { MeView, Page } from '../../api/types';
import type { Api } from '../../api/api';
import { path } from '../../api/api';

/** What a credential allows, from least to most. */
export const ROLES = ['reader', 'member', 'owner', 'admin'] as const;

/** A tenant. */
export interface TenantView {
  tenant_id: string;
  name: string;
  created_at: string;
  suspended_at: string | null;
  policy: Record<string, unknown>;
  limits: Record<string, number>;
}

/** A key, without itself. */
export interface KeyView {
  key_id: string;
  name: string;
  role: (typeof ROLES)[number];
  user_id: string | null;
  networks: string[];
  created_at: string;
  expires_at: string | null;
  revoked_at: string | null;
  last_used_at: string | null;
}

/** An entry of the audit. */
export interface AuditView {
  number: number;
  at: string;
  tenant_id: string | null;
  actor: string;
  address: string | null;
  action: string;
  target: string;
  details: Record<string, unknown>;
  hash: string;
}

/** The limits of a tenant, in the order in which they are shown. */
export const LIMITS = [
  'requests_per_minute',
  'sessions_per_minute',
  'turns_per_minute',
  'sessions_max',
  'user_sessions_max',
  'turns_max',
  'agents_max',
  'workspace_max_bytes',
  'workspace_max_entries',
  'model_requests_max',
  'model_requests_per_minute',
  'delta_retention_seconds',
  'event_retention_seconds',
  'message_retention_seconds',
] as const;

/** The roles that a caller may give: none above its own. */
export function rolesOf(me: MeView): readonly string[] {
  return ROLES.slice(0, ROLES.indexOf(me.role as (typeof ROLES)[number]) + 1);
}

/** A tenant's path. */
export function tenantPath(tenant: string, ...parts: string[]): string {
  return path('admin', 'tenants', tenant, ...parts);
}

/** A whole list, page by page, up to a bound. */
export async function all<T>(api: Api, to: string, signal: AbortSignal): Promise<T[]> {
  const found: T[] = [];
  let cursor: string | null = null;
  do {
    const page: Page<T> = await api.list(to, { limit: 200, cursor }, signal);
    found.push(...page.data);
    cursor = page.next_cursor;
  } while (cursor !== null && found.length < 2000);
  return found;
}

/** Whether a key can be used now. */
export function stateOf(key: KeyView, now = Date.now()): 'active' | 'revoked' | 'expired' {
  if (key.revoked_at !== null) return 'revoked';
  return key.expires_at !== null && new Date(key.expires_at).getTime() <= now ? 'expired' : 'active';
}
