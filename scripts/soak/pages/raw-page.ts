// IndexedDB and nothing else: what a durable write costs on this machine, whoever makes it.
import { perSecond } from './per-second.ts'

declare global {
  interface Window {
    /** Transactions a second, each with one small record. */
    rawPerSecond?: (durability: 'strict' | 'relaxed', inFlight: number, forMs: number) => Promise<number>
  }
}

/** About what a small command takes in the log. */
const record = crypto.getRandomValues(new Uint8Array(100))

function open(): Promise<IDBDatabase> {
  return new Promise((resolve, reject) => {
    const opening = indexedDB.open('raw', 1)
    opening.onupgradeneeded = () => opening.result.createObjectStore('records')
    opening.onsuccess = () => resolve(opening.result)
    opening.onerror = () => reject(opening.error)
  })
}

window.rawPerSecond = async (durability, inFlight, forMs) => {
  const database = await open()
  try {
    return await perSecond(inFlight, forMs, (number) => put(database, durability, number))
  } finally {
    database.close()
  }
}

function put(database: IDBDatabase, durability: 'strict' | 'relaxed', key: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const transaction = database.transaction('records', 'readwrite', { durability })
    transaction.objectStore('records').put(record, key)
    transaction.oncomplete = () => resolve()
    transaction.onabort = () => reject(transaction.error)
    transaction.commit()
  })
}
