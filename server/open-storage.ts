// Which store the configuration asks for. The PostgreSQL client is loaded only where it is used.
// Called by books.ts.

import type { Storage } from '../accounting/storage.ts'
import { openSqliteStore } from '../accounting/store-sqlite.ts'

/** Opens and migrates it; throws StorageError with what to do. */
export async function openStorage(storage: string, databasePath: string): Promise<Storage> {
  if (storage === 'embedded') return openSqliteStore(databasePath)
  const { openPostgresStore } = await import('../accounting/store-postgres.ts')
  return openPostgresStore(storage)
}
